"""GPQA with its choices shuffled by the document alone, so that their order is the same in every run."""

# lm-eval's dump of a task holds the source of the functions that its YAML names, and stored item scores are found by
# that dump: if a line of these functions changes, docstrings included, a run begun before scores its models again.

from __future__ import annotations

import hashlib
import random
from typing import Any

import datasets
from lm_eval.tasks.gpqa.zeroshot.utils import preprocess

WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
CORRECT = "Correct Answer"


def shuffled(dataset: datasets.Dataset) -> datasets.Dataset:
    """lm-eval's `process_docs` of GPQA, which shuffles by the global random state, shuffled by the document instead."""
    return dataset.map(_with_choices)


def _with_choices(doc: dict[str, Any]) -> dict[str, str]:
    content = "\n".join(str(doc[column]) for column in ("Question", *WRONG, CORRECT))
    choices = [preprocess(doc[column]) for column in (*WRONG, CORRECT)]
    random.Random(hashlib.sha256(content.encode()).hexdigest()).shuffle(choices)
    label = choices.index(preprocess(doc[CORRECT]))
    return {
        **{f"choice{i}": choice for i, choice in enumerate(choices, 1)},
        "answer": f"({'ABCD'[label]})",
    }
