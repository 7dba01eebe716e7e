"""Documents of `calib_p_true`: each choice of a question as a proposed answer."""

# ruff: noqa: D401
# lm-eval's dump of a task holds the source of the functions that its YAML names, and stored item scores are found by
# that dump: if a line of these functions changes, docstrings included, a run begun before scores its models again.

from __future__ import annotations

from typing import Any

import datasets

from lm_eval_tasks.calib_mmlu import task as mmlu
from mergekit_calib.errors import CalibError


def each_choice(questions: datasets.Dataset) -> datasets.Dataset:
    """The first question of every subject, then the second of every subject, …; the choices of each one in turn."""
    rows = [
        {"question": row["question"].strip(), "proposed": choice, "correct": i == row["answer"]}
        for row in mmlu.interleaved(questions)
        for i, choice in enumerate(row["choices"])
    ]
    return datasets.Dataset.from_list(rows)


def label(doc: dict[str, Any]) -> int:
    """The number of the right choice: 0, True, if the proposed answer is correct; 1, False, if it is not."""
    if doc.get("correct") not in (True, False):
        raise CalibError(f"proposed answers: `correct` must be true or false, and is {doc.get('correct')!r}: {doc}")
    return 0 if doc["correct"] else 1
