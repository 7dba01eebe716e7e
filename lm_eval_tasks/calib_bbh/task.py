"""BIG-Bench Hard's multiple-choice subtasks as one task, each with lm-eval's description and examples of it."""

# ruff: noqa: D401
# lm-eval's dump of a task holds the source of the functions that its YAML names, and stored item scores are found by
# that dump: if a line of these functions changes, docstrings included, a run begun before scores its models again.

from __future__ import annotations

import re
from typing import Any

import datasets

from lm_eval_tasks.calib_mmlu import task as mmlu
from lm_eval_tasks.task import lm_eval_config

LISTED = (
    "causal_judgement date_understanding disambiguation_qa formal_fallacies geometric_shapes hyperbaton "
    "logical_deduction_five_objects logical_deduction_seven_objects logical_deduction_three_objects "
    "movie_recommendation navigate penguins_in_a_table reasoning_about_colored_objects ruin_names "
    "salient_translation_error_detection snarks temporal_sequences tracking_shuffled_objects_five_objects "
    "tracking_shuffled_objects_seven_objects tracking_shuffled_objects_three_objects"
).split()
"""The subtasks whose questions list their options, as `(A) …` or `- …`."""

FIXED = {
    "boolean_expressions": ["True", "False"],
    "sports_understanding": ["yes", "no"],
    "web_of_lies": ["Yes", "No"],
}
"""The subtasks whose options are the same for every question."""

_OPTION = re.compile(r"^(?:(\([A-Z]\))|- (.+?)\s*$)", re.MULTILINE)


class BBHTask(mmlu.MMLUTask):
    """The multiple-choice subtasks; the few-shot examples are those of the question's subtask."""

    SUBJECT = "subtask"


def load(**_: Any) -> dict[str, datasets.Dataset]:
    """The questions from the hub, and lm-eval's own examples."""
    tests, examples = [], []
    for subtask in (*LISTED, *FIXED):
        config = lm_eval_config(f"bbh/fewshot/{subtask}.yaml")
        questions = datasets.load_dataset(config["dataset_path"], config["dataset_name"], split=config["test_split"])
        tests += with_subtask(list(questions), subtask, config)
        examples += with_subtask(config["fewshot_config"]["samples"], subtask, config)
    return {"test": datasets.Dataset.from_list(tests), "examples": datasets.Dataset.from_list(examples)}


def with_subtask(docs: list[dict[str, Any]], subtask: str, config: dict[str, Any]) -> list[dict[str, Any]]:
    """The documents that can be answered by choice, each with its subtask's name and description."""
    marked = [
        {"input": d["input"], "target": d["target"], "subtask": subtask, "description": config["description"]}
        for d in docs
    ]
    return [doc for doc in marked if doc["target"] in options(doc)]


def options(doc: dict[str, Any]) -> list[str]:
    """What may be answered: letters in parentheses, or words."""
    if doc["subtask"] in FIXED:
        return FIXED[doc["subtask"]]
    _, _, listed = doc["input"].rpartition("Options:")
    return [letter or word for letter, word in _OPTION.findall(listed)]


def answer(doc: dict[str, Any]) -> int:
    """Which option is right, from 0."""
    return options(doc).index(doc["target"])


def interleaved(questions: datasets.Dataset) -> datasets.Dataset:
    """The first question of every subtask, then the second of every subtask, …."""
    return mmlu.interleaved(questions, "subtask")
