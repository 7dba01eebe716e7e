"""Proposed answers that the model judges: every choice of a question, or answers from a file."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import lm_eval
import numpy as np
import pytest
import yaml
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from lm_eval_tasks import TASKS_DIR
from lm_eval_tasks.calib_p_true.task import each_choice, label
from lm_eval_tasks.task import CalibrationTask
from mergekit_calib import demo, metrics
from mergekit_calib.errors import CalibError

QUESTIONS = [
    {"question": f" {s} {i}? ", "choices": [f"{s}{i}{k}" for k in "abcd"], "answer": i, "subject": s}
    for s in ("law", "art")
    for i in range(2)
]


def mmlu(folder: Path, name: str = "calib_p_true") -> dict[str, object]:
    """The settings of `calib_p_true` over rows of its own."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    data = {"dataset_path": "json", "dataset_name": None}
    files = {"dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}}}
    return {**load_yaml(TASKS_DIR / name / f"{name}.yaml"), **data, **files}


def test_each_choice_of_each_question_is_a_document_with_one_true_among_four():
    docs = list(each_choice(datasets.Dataset.from_list(QUESTIONS)))
    assert [doc["proposed"] for doc in docs[:8]] == [*(f"art0{k}" for k in "abcd"), *(f"law0{k}" for k in "abcd")]
    assert [doc["correct"] for doc in docs[8:12]] == [False, True, False, False]
    assert len(docs) == 16


def test_the_prompt_is_that_of_kadavath_et_al(tmp_path):
    task = CalibrationTask(mmlu(tmp_path))
    task.build_all_requests()
    assert task.instances[0].args == (
        "Question: art 0?\nProposed Answer: art0a\nIs the proposed answer:\n (A) True\n (B) False\n"
        "The proposed answer is:",
        " (A)",
    )
    assert task.instances[1].args[1] == " (B)"


def test_a_label_that_is_neither_true_nor_false_is_refused():
    assert [label({"correct": value}) for value in (True, False)] == [0, 1]
    for wrong in ("false", None, 2):
        with pytest.raises(CalibError, match="`correct` must be true or false"):
            label({"correct": wrong, "question": "q"})


@pytest.fixture
def proposed_answers(tmp_path):
    """A YAML of one's own that includes the shared part, with a JSON file of proposed answers."""
    rows = [{"question": f"the {i}", "proposed": f"word {i % 7}", "correct": i % 3 == 0} for i in range(40)]
    (tmp_path / "proposed.json").write_text(json.dumps(rows))
    config = {
        "include": str(TASKS_DIR / "_p_true_yaml"),
        "task": "my_p_true",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "proposed.json")}},
        "test_split": "test",
    }
    (tmp_path / "my_p_true.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "my_p_true.yaml"


def test_the_metrics_are_of_the_probability_of_true_and_false(proposed_answers):
    finished = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(Path(demo.__file__).parent / "base")},
        tasks=["my_p_true"],
        task_manager=TaskManager(include_path=str(proposed_answers.parent), include_defaults=False),
        device="cpu",
        batch_size=40,
    )
    results, samples = finished["results"]["my_p_true"], finished["samples"]["my_p_true"]
    scores = [[float(response[0][0]) for response in sample["resps"]] for sample in samples]
    labels = np.array([0 if sample["doc"]["correct"] else 1 for sample in samples])
    assert sorted(set(labels)) == [0, 1]
    probabilities = metrics.choice_probabilities(scores)
    assert results["brier,none"] == pytest.approx(metrics.brier_score(probabilities, labels))
    assert results["ece,none"] == pytest.approx(metrics.expected_calibration_error(probabilities, labels))
    assert results["acc,none"] == pytest.approx(np.mean(probabilities.argmax(axis=1) == labels))
