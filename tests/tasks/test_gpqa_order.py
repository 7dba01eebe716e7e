"""GPQA's choices: lm-eval's wording, in an order that the document alone decides."""

from __future__ import annotations

import random

import datasets
from lm_eval.tasks._yaml_loader import load_yaml
from lm_eval.tasks.gpqa.zeroshot import utils

from lm_eval_tasks import TASKS_DIR
from lm_eval_tasks.calib_gpqa.task import CORRECT, WRONG, shuffled
from lm_eval_tasks.task import LmEvalTask


def documents(n: int = 40) -> list[dict[str, str]]:
    return [
        {"Question": f"What is {i}?", CORRECT: f" correct  of {i} ", **{column: f"{column} of {i}" for column in WRONG}}
        for i in range(n)
    ]


def choices(doc: dict[str, str]) -> list[str]:
    return [doc[f"choice{i}"] for i in range(1, 5)]


def test_the_order_depends_neither_on_the_random_state_nor_on_other_documents():
    random.seed(1)
    first = [choices(doc) for doc in shuffled(datasets.Dataset.from_list(documents()))]
    random.seed(2)
    again = [choices(doc) for doc in shuffled(datasets.Dataset.from_list(documents()[::-1]))][::-1]
    assert first == again


def test_shuffling_does_not_change_the_random_state():
    state = random.getstate()
    list(shuffled(datasets.Dataset.from_list(documents(2))))
    assert random.getstate() == state


def test_labels_are_in_every_position_and_the_texts_are_lm_evals():
    ours = list(shuffled(datasets.Dataset.from_list(documents())))
    theirs = list(utils.process_docs(datasets.Dataset.from_list(documents())))
    assert {doc["answer"] for doc in ours} == {"(A)", "(B)", "(C)", "(D)"}
    for mine, other in zip(ours, theirs, strict=True):
        assert sorted(choices(mine)) == sorted(choices(other))
        assert choices(mine)["ABCD".index(mine["answer"][1])] == utils.preprocess(mine[CORRECT])


def test_the_task_asks_lm_evals_prompt(tmp_path):
    datasets.Dataset.from_list(documents(4)).to_json(tmp_path / "gpqa.jsonl")
    data = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"train": str(tmp_path / "gpqa.jsonl")}}}
    config = load_yaml(TASKS_DIR / "calib_gpqa" / "calib_gpqa.yaml")
    task = LmEvalTask({**config, **data, "dataset_name": None})
    doc = task.eval_docs[0]
    assert task.doc_to_text(doc) == (
        f"What is the correct answer to this question:{doc['Question']}\nChoices:\n(A) {doc['choice1']}\n"
        f"(B) {doc['choice2']}\n(C) {doc['choice3']}\n(D) {doc['choice4']}\nAnswer:"
    )
    assert [i.args[1] for i in (task.build_all_requests(), task.instances)[1][:4]] == [" (A)", " (B)", " (C)", " (D)"]
