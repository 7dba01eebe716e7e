"""Confidence in words: what is read of a model's text, and that nothing unreadable is dropped."""

from __future__ import annotations

import json
from pathlib import Path

import lm_eval
import numpy as np
import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from lm_eval_tasks import TASKS_DIR
from lm_eval_tasks.verbalized import AVERAGED, Stated, VerbalizedChoiceTask, VerbalizedTask, read_stated
from mergekit_calib import demo, metrics

FOLDER = TASKS_DIR / "calib_verbalized"


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("Guess: Oslo\nConfidence: 85", Stated("Oslo", 0.85)),
        (" **Guess:** Oslo \n**Confidence:** 85 %", Stated("Oslo", 0.85)),
        ("Guess: Oslo, Confidence: 90", Stated("Oslo", 0.9)),
        ("Answer: St. Louis (probability = 70%)", Stated("St. Louis", 0.7)),
        ("Confidence: <40>\nGuess: Oslo", Stated("Oslo", 0.4)),
        ("Guess: Oslo\nConfidence: 100\n\nGuess: Rome\nConfidence: 3", Stated("Oslo", 1.0)),
        ("Guess: Oslo\nConfidence: 1", Stated("Oslo", 0.01)),
        ("Guess: Oslo\nProbability: 0.9", Stated("Oslo", 0.9)),
        ("Guess: Oslo\nConfidence: 0.9%", Stated("Oslo", 0.009)),
        ("Guess: Oslo\nConfidence: high", Stated("Oslo", None)),
        ("Guess: Oslo\nConfidence: 150", Stated("Oslo", None)),
        ("Guess: Oslo\nConfidence: -5", Stated("Oslo", None)),
        ("Guess:\nConfidence: 50", Stated(None, 0.5)),
        ("I do not know.", Stated(None, None)),
        ("", Stated(None, None)),
    ],
)
def test_the_first_answer_and_the_first_confidence_are_read(text, stated):
    found = read_stated(text)
    assert (found.answer, found.confidence) == (stated.answer, pytest.approx(stated.confidence))


def with_rows(name: str, folder: Path, rows: list[dict[str, object]]) -> dict[str, object]:
    """The settings of the task of that name, over rows of its own."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"validation": str(folder / "rows.jsonl")}},
        "test_split": "validation",
    }
    return {**load_yaml(FOLDER / f"{name}.yaml"), **data}


def values_of(task: ConfigurableTask, text: str) -> dict[str, object]:
    (doc,) = task.eval_docs
    instance = Instance("generate_until", doc, ("", {}), 0, metadata=(task.task_name, 0, 1))
    instance.resps, task._instances = [text], [instance]
    task.apply_filters()
    (filtered,) = instance.filtered_resps.values()
    return task.process_results(doc, [filtered])


@pytest.fixture
def capital(tmp_path):
    row = {"question": "What is the capital of Norway?", "answer": {"aliases": ["Oslo", "Christiania"]}}
    return VerbalizedTask(with_rows("calib_verbalized_triviaqa", tmp_path, [row]))


@pytest.fixture
def letter(tmp_path):
    row = {"question": "The capital?", "choices": ["Rome", "Oslo", "Bonn", "Bern"], "answer": 1, "subject": "cities"}
    return VerbalizedChoiceTask(with_rows("calib_verbalized_mmlu", tmp_path, [row]))


def test_any_alias_is_correct_and_the_stated_confidence_is_measured(capital):
    values = values_of(capital, "Guess: christiania.\nConfidence: 80")
    assert {name: values[name] for name in AVERAGED} == pytest.approx(
        {
            "acc": 1.0,
            "confidence": 0.8,
            "overconfidence": -0.2,
            "brier": 2 * 0.2**2,
            "nll": -np.log(0.8),
            "unparsed": 0.0,
        }
    )
    assert values["ece"] == (0.8, True)


def test_an_answer_that_is_missing_is_wrong_with_confidence_0_and_one_without_doubt_has_confidence_1(capital):
    nothing, no_doubt = values_of(capital, "Sorry.\nConfidence: 70"), values_of(capital, "Guess: Rome")
    assert [nothing[n] for n in ("acc", "confidence", "unparsed")] == [0.0, 0.0, 1.0]
    assert [no_doubt[n] for n in ("acc", "confidence", "unparsed")] == [0.0, 1.0, 1.0]
    assert no_doubt["nll"] == pytest.approx(-np.log(0.005))  # half a point from certainty
    assert no_doubt["brier"] == 2.0


@pytest.mark.parametrize(
    ("answer", "correct", "unparsed"),
    [
        ("B", 1.0, 0.0),
        ("(b)", 1.0, 0.0),
        ("B. Oslo", 1.0, 0.0),
        ("Oslo", 1.0, 0.0),
        ("option B", 1.0, 0.0),
        ("C", 0.0, 0.0),
        ("Bonn", 0.0, 0.0),
        ("E", 0.0, 1.0),
        ("Berlin", 0.0, 1.0),
    ],
)
def test_a_choice_is_stated_by_its_letter_or_its_text(letter, answer, correct, unparsed):
    values = values_of(letter, f"Guess: {answer}\nConfidence: 60")
    assert (values["acc"], values["unparsed"]) == (correct, unparsed)


def test_the_prompt_asks_for_a_number_from_0_to_100_and_shows_the_choices(letter):
    letter.set_config("num_fewshot", 0)
    letter.build_all_requests()
    prompt = letter.instances[0].args[0]
    assert "how confident you are that it is correct (0 to 100)" in prompt
    assert prompt.rstrip().endswith("The question is: The capital?\nA. Rome\nB. Oslo\nC. Bonn\nD. Bern")


def test_the_group_holds_both_tasks():
    group = load_yaml(FOLDER / "calib_verbalized.yaml")
    assert group["task"] == [f"calib_verbalized_{name}" for name in ("triviaqa", "mmlu")]


def run(file: Path, name: str) -> dict[str, object]:
    return lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(Path(demo.__file__).parent / "base")},
        tasks=[name],
        task_manager=TaskManager(include_path=str(file.parent), include_defaults=False),
        device="cpu",
        batch_size=40,
    )


def test_a_run_counts_what_cannot_be_read_and_measures_the_rest(stated_in_the_demo):
    finished = run(stated_in_the_demo, "demo_stated")
    results, samples = finished["results"]["demo_stated"], finished["samples"]["demo_stated"]
    texts = [sample["filtered_resps"][0] for sample in samples]
    assert len(texts) == 40
    unread = np.array([text.startswith("no idea") for text in texts])
    assert results["unparsed,labelled"] == np.mean(unread) == 0.25
    confidence = np.where(unread, 0.0, 0.7)
    answers = [text.splitlines()[0].removeprefix("Guess: ").strip() for text in texts]
    correct = [a in sample["doc"]["answer"]["aliases"] for a, sample in zip(answers, samples, strict=True)]
    assert 0.1 < np.mean(correct) < 0.75
    assert results["acc,labelled"] == pytest.approx(np.mean(correct))
    assert results["ece,labelled"] == pytest.approx(metrics.expected_calibration_error(confidence, np.array(correct)))
    assert results["brier,labelled"] == pytest.approx(metrics.brier_score(confidence, np.array(correct)))
    directions = finished["higher_is_better"]["demo_stated"]
    assert (directions["unparsed"], directions["acc"]) == (False, True)


def test_the_group_and_the_tasks_are_found_by_name():
    names = {"calib_verbalized", "calib_verbalized_triviaqa", "calib_verbalized_mmlu", "calib_p_true"}
    assert names <= set(TaskManager(include_path=str(TASKS_DIR), include_defaults=False).all_tasks)
