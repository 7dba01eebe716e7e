"""MMLU-Pro with one letter as the answer: lm-eval's prompts without the reasoning."""

# ruff: noqa: D401
# lm-eval's dump of a task holds the source of the functions that its YAML names, and stored item scores are found by
# that dump: if a line of these functions changes, docstrings included, a run begun before scores its models again.

from __future__ import annotations

from typing import Any

import datasets
from lm_eval.tasks.mmlu_pro import utils

from lm_eval_tasks.calib_mmlu import task as mmlu


class MMLUProTask(mmlu.MMLUTask):
    """MMLU-Pro; the few-shot examples are the first of the question's category."""

    SUBJECT = "category"


def text(doc: dict[str, Any]) -> str:
    """lm-eval's prompt, up to and with `Answer:`."""
    return str(utils.doc_to_text(doc)).removesuffix(" Let's think step by step.")


def letters(doc: dict[str, Any]) -> list[str]:
    """A letter for each option, from A."""
    return list(utils.choices[: len(doc["options"])])


def interleaved(questions: datasets.Dataset) -> datasets.Dataset:
    """The first question of every category, then the second of every category, …."""
    return mmlu.interleaved(questions, "category")
