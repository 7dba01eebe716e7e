"""Mistakes in a suite are reported when it is loaded, with the key of the entry."""

from __future__ import annotations

from collections.abc import Callable

import lm_eval.utils
import pytest
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import Kind

from helpers.small_tasks import CHOICES
from mergekit_calib.errors import RecipeError
from mergekit_calib.recipe import Seeds, SuiteEntry
from mergekit_calib.scoring.loading import load_entries, task_manager
from mergekit_calib.scoring.suite import Suite

QUESTIONS = [{"question": f"{i} and {i} are", "options": [str(i + i), str(i)], "answer": 0} for i in range(1, 11)]


def test_our_own_tasks_are_loaded_without_scanning_lm_evals(write_task: Callable[..., str]) -> None:
    path = write_task("sums", QUESTIONS, **CHOICES)

    assert len(task_manager(["calib_mmlu", path]).all_tasks) < 100


def test_an_unknown_task_is_an_error_that_suggests_similar_names() -> None:
    entries = [SuiteEntry(task="calib_mmlu", limit=1), SuiteEntry(task="arc_eassy")]

    with pytest.raises(RecipeError, match="no task, group or tag 'arc_eassy'") as caught:
        load_entries(entries, Seeds(), "sweep.yml")

    assert "'arc_easy'" in str(caught.value)
    assert str(caught.value).startswith("sweep.yml: calibration.suite[1].task: ")


def test_a_missing_file_is_an_error(load_suite: Callable[..., Suite]) -> None:
    with pytest.raises(RecipeError, match=r"there is no file nowhere/mine\.yaml"):
        load_suite("nowhere/mine.yaml")


def test_a_file_that_is_no_task_is_an_error(tmp_path, load_suite: Callable[..., Suite]) -> None:
    (tmp_path / "odd.yaml").write_text("colour: blue\n")

    with pytest.raises(RecipeError, match=r"odd\.yaml cannot be loaded: Unknown config shape"):
        load_suite(str(tmp_path / "odd.yaml"))


def test_two_entries_with_the_same_task_are_an_error(write_task: Callable[..., str], tmp_path) -> None:
    path = write_task("sums", QUESTIONS, **CHOICES)
    group = tmp_path / "arithmetic.yaml"
    group.write_text("group: arithmetic\ntask:\n  - task: calib_mmlu\n")

    with pytest.raises(RecipeError, match=r"calib_mmlu and .*arithmetic.yaml both hold task calib_mmlu"):
        load_entries(
            [SuiteEntry(task=path), SuiteEntry(task="calib_mmlu", limit=2), SuiteEntry(task=str(group), limit=2)],
            Seeds(),
        )


def test_a_label_that_is_not_among_the_choices_is_refused(write_task, load_suite) -> None:
    broken = [*QUESTIONS[:3], {"question": "?", "options": ["a", "b"], "answer": 2}]

    with pytest.raises(RecipeError, match=r"sums, document 3: the label 2 is not among the choices \['a', 'b'\]"):
        load_suite(write_task("sums", broken, **CHOICES))


def test_documents_beyond_the_limit_are_not_checked(write_task, load_suite) -> None:
    broken = [*QUESTIONS[:3], {"question": "?", "options": ["a", "b"], "answer": 2}]

    suite = load_suite(write_task("sums", broken, **CHOICES), limit=3)

    assert suite.summaries()[0].n_items == 3


def test_more_shots_than_there_are_examples_are_refused(write_task, load_suite) -> None:
    path = write_task("sums", QUESTIONS, fewshot_split="dev", fewshot_config={"sampler": "first_n"}, **CHOICES)

    with pytest.raises(RecipeError, match=r"calibration\.suite\[0\]: sums makes no prompt with num_fewshot 11"):
        load_suite(path, num_fewshot=11)


def test_a_task_that_runs_code_written_by_the_model_is_refused(write_task, load_suite) -> None:
    with pytest.raises(RecipeError, match="sums runs code that a model wrote"):
        load_suite(write_task("sums", QUESTIONS, unsafe_code=True, **CHOICES))


@pytest.mark.parametrize(
    ("of_task", "of_entry", "used"), [(None, None, 0), (None, 2, 2), (3, None, 3), (3, 1, 1), (0, 2, 0), (3, 0, 0)]
)
def test_shots_follow_the_rules_of_lm_eval(write_task, load_suite, of_task, of_entry, used) -> None:
    shots = {} if of_task is None else {"num_fewshot": of_task}
    path = write_task("sums", QUESTIONS, fewshot_split="dev", **shots, **CHOICES)

    assert load_suite(path, num_fewshot=of_entry).summaries()[0].num_fewshot == used


def test_gen_kwargs_reach_tasks_that_generate_and_no_others(write_task, load_suite) -> None:
    generating = {"output_type": "generate_until", "doc_to_text": "question", "doc_to_target": "{{options[0]}}"}
    asked = {"gen_kwargs": {"max_gen_toks": 3}}

    generates = load_suite(write_task("says", QUESTIONS, **generating), **asked).entries[0].tasks[0]
    chooses = load_suite(write_task("sums", QUESTIONS, **CHOICES), **asked).entries[0].tasks[0]

    assert generates.config.generation_kwargs["max_gen_toks"] == 3
    assert generates.config.generation_kwargs["until"]
    assert chooses.config.generation_kwargs is None


def test_a_fraction_as_limit_is_a_share_of_the_documents(write_task, load_suite) -> None:
    assert load_suite(write_task("sums", QUESTIONS, **CHOICES), limit=0.25).summaries()[0].n_items == 3


def test_suites_that_score_differently_have_different_descriptions(write_task, load_suite) -> None:
    path = write_task("sums", QUESTIONS, fewshot_split="dev", **CHOICES)
    plain = load_suite(path).describe()

    assert load_suite(path).describe() == plain
    assert load_suite(path, num_fewshot=1).describe() != plain
    assert load_suite(path, limit=3).describe() != plain
    assert load_suite(path, system_instruction="Think.").describe() != plain
    edited = write_task("sums", QUESTIONS, fewshot_split="dev", **{**CHOICES, "doc_to_text": "Q: {{question}}"})
    assert load_suite(edited).describe() != plain


def test_each_document_is_in_one_split(write_task, load_suite) -> None:
    summary = load_suite(write_task("sums", QUESTIONS, **CHOICES)).summaries()[0]

    assert summary.n_selection + summary.n_held_out == summary.n_items == 10
    assert summary.n_selection > 0
    assert summary.n_held_out > 0


@pytest.mark.parametrize(
    "names", [["calib_demo", "calib_mmlu"], ["arc_easy"], ["mmlu_anatomy", "hellaswag"], ["boolq"]]
)
def test_common_tasks_are_found_without_reading_all_of_lm_evals(names) -> None:
    manager = task_manager(names)

    assert set(names) <= set(manager.all_subtasks)
    assert len(manager.all_tasks) < 1000  # lm-eval has more than 14,000


@pytest.mark.parametrize(("name", "n_tasks"), [("mmlu", 57), ("leaderboard", 39), ("glue", 9), ("ai2_arc", 2)])
def test_groups_and_tags_are_found_with_all_their_tasks_but_few_others(name, n_tasks) -> None:
    manager = task_manager([name])

    assert name in manager.all_groups + manager.all_tags
    assert len(manager.all_tasks) < 1000
    assert len(subtasks(name, manager)) == n_tasks


def subtasks(name: str, manager: TaskManager) -> set[str]:
    """Return the tasks that a task, group or tag of a manager stands for."""
    entry = manager.task_index[name]
    below = entry.tags if entry.kind is Kind.TAG else entry.cfg["task"] if entry.kind is Kind.GROUP else ()
    return set().union(*(subtasks(each, manager) for each in below)) if below else {name}


def test_a_template_is_compiled_once_for_all_documents(write_task, load_suite, lm, monkeypatch) -> None:
    suite = load_suite(write_task("sums", QUESTIONS, **{**CHOICES, "doc_to_text": "{{question}}:"}))
    compiled, compile_ = [], lm_eval.utils.env.compile
    monkeypatch.setattr(
        lm_eval.utils.env, "compile", lambda text, *more: compiled.append(text) or compile_(text, *more)
    )

    suite.build_requests(lm)

    assert compiled.count("{{question}}:") == 1
    assert "from_string" not in vars(lm_eval.utils.env)  # lm-eval's own runs in this process are as before
