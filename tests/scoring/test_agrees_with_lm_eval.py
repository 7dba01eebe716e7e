"""Metrics and prompts equal lm-eval's own, on its own tasks and data (lm-eval 0.4.13)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lm_eval
import lm_eval.tasks
import numpy as np
import pytest
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from lm_eval_tasks import TASKS_DIR
from mergekit_calib import metrics
from mergekit_calib.items.item_metrics.accuracies import correct, correct_by_length
from mergekit_calib.recipe import SuiteEntry
from mergekit_calib.scoring.suite import Suite

THEIRS = Path(lm_eval.tasks.__file__).parent
ARC_EASY = str(THEIRS / "arc" / "arc_easy.yaml")
MMLU = THEIRS / "mmlu" / "default"
SUBJECTS = ("abstract_algebra", "high_school_us_history", "us_foreign_policy", "world_religions")
ASSISTANT = {"system_instruction": "You are careful.", "apply_chat_template": True}

pytestmark = pytest.mark.usefixtures("hub_data")


def evaluate(model, tokenizer, task: str, **options: Any) -> dict[str, Any]:
    return lm_eval.simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8),
        tasks=[task],
        task_manager=TaskManager(include_defaults=False, include_path=str(TASKS_DIR)),
        bootstrap_iters=100,
        **options,
    )


@pytest.mark.parametrize(
    ("path", "options"),
    [
        (ARC_EASY, {}),
        (ARC_EASY, {"num_fewshot": 1}),
        (str(MMLU / "mmlu_anatomy.yaml"), {}),
        (str(MMLU / "mmlu_anatomy.yaml"), {"num_fewshot": 1, **ASSISTANT}),
    ],
    ids=["arc_easy", "arc_easy-1-shot", "mmlu_anatomy", "mmlu_anatomy-chat"],
)
def test_accuracies_equal_lm_evals(model, tokenizer, lm, path, options) -> None:
    theirs = evaluate(model, tokenizer, path, limit=40, **options)
    (task,) = theirs["results"]

    ((table,),) = Suite.load([SuiteEntry(task=path, limit=40, **options)]).score(lm).values()

    assert correct(table).mean() == theirs["results"][task]["acc,none"]
    if "acc_norm,none" in theirs["results"][task]:
        assert correct_by_length(table).mean() == theirs["results"][task]["acc_norm,none"]
    assert table.doc_hashes == [sample["doc_hash"] for sample in theirs["samples"][task]]
    for row, sample in zip(table.log_likelihoods, theirs["samples"][task], strict=True):
        scores = [score for score, _ in sample["filtered_resps"]]
        assert row[: len(scores)].tolist() == pytest.approx(scores, abs=1e-4)
        assert np.isnan(row[len(scores) :]).all()


@pytest.mark.parametrize("chat", [{}, ASSISTANT, {**ASSISTANT, "fewshot_as_multiturn": False}], ids=str)
def test_prompts_of_calib_mmlu_equal_those_of_lm_evals_task_for_the_subject(lm, chat) -> None:
    ours = Suite.load([SuiteEntry(task="calib_mmlu", limit=114, **chat)])
    paths = [str(MMLU / f"mmlu_{subject}.yaml") for subject in SUBJECTS]
    theirs = Suite.load([SuiteEntry(task=path, limit=2, num_fewshot=5, **chat) for path in paths])
    for suite in (ours, theirs):
        suite.build_requests(lm)

    requests: dict[str, list[Any]] = {subject: [] for subject in SUBJECTS}
    for instance in ours.entries[0].tasks[0].instances:
        if instance.doc["subject"] in requests:
            requests[instance.doc["subject"]].append(instance.args)

    for entry, subject in zip(theirs.entries, SUBJECTS, strict=True):
        expected = [instance.args for instance in entry.tasks[0].instances]
        assert len(expected) == 8
        assert requests[subject] == expected


def test_the_description_of_every_subject_is_lm_evals() -> None:
    from lm_eval.utils import apply_template

    files = sorted(MMLU.glob("mmlu_*.yaml"))
    ours = load_yaml(TASKS_DIR / "calib_mmlu" / "calib_mmlu.yaml", resolve_func=False)["description"]

    for file in files:
        theirs = load_yaml(file, resolve_func=False)
        assert apply_template(ours, {"subject": theirs["dataset_name"]}) == theirs["description"]
    assert len(files) == 57


def test_the_first_documents_of_calib_mmlu_cover_all_subjects_equally() -> None:
    suite = Suite.load([SuiteEntry(task="calib_mmlu")])
    subjects = [doc["subject"] for doc in suite.entries[0].tasks[0].eval_docs]

    assert len(subjects) == 14042
    assert sorted(subjects[:57]) == sorted(subjects[57:114]) == sorted(set(subjects))


def test_lm_eval_reports_the_calibration_of_calib_mmlu(model, tokenizer, lm) -> None:
    options = {"limit": 57, "num_fewshot": 0}

    theirs = evaluate(model, tokenizer, "calib_mmlu", **options)["results"]["calib_mmlu"]

    ((table,),) = Suite.load([SuiteEntry(task="calib_mmlu", **options)]).score(lm).values()
    assert theirs["acc,none"] == correct(table).mean()
    assert theirs["acc_stderr,none"] > 0
    expected = {
        "ece": metrics.expected_calibration_error(table.probabilities, table.labels),
        "brier": metrics.brier_score(table.probabilities, table.labels),
        "nll": metrics.negative_log_likelihood(table.probabilities, table.labels),
        "overconfidence": metrics.overconfidence(table.probabilities, table.labels),
    }
    for name, value in expected.items():
        assert theirs[f"{name},none"] == pytest.approx(value, abs=1e-4)
        assert theirs[f"{name}_stderr,none"] > 0


def test_calib_mmlu_can_be_run_for_its_outputs_alone(model, tokenizer) -> None:
    outputs = evaluate(model, tokenizer, "calib_mmlu", limit=2, num_fewshot=0, predict_only=True)

    assert len(outputs["samples"]["calib_mmlu"]) == 2


def test_more_shots_than_mmlu_has_examples_are_refused_before_scoring(load_suite) -> None:
    with pytest.raises(Exception, match=r"makes no prompt with num_fewshot 6: .* exceeds the 5 that are available"):
        load_suite("calib_mmlu", limit=2, num_fewshot=6)


def test_a_group_gives_a_table_for_each_of_its_tasks(lm) -> None:
    suite = Suite.load([SuiteEntry(task="mmlu_stem", limit=1)])

    (tables,) = suite.score(lm).values()

    assert len(tables) == 19
    assert {len(table) for table in tables} == {1}
    assert suite.summaries()[0].tasks == [table.task for table in tables]
