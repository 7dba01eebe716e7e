"""GPQA's choices in an order of each document's own, the same in every run."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import datasets
from lm_eval.tasks.gpqa.zeroshot.utils import preprocess

WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
RIGHT = "Correct Answer"


def shuffled(dataset: datasets.Dataset) -> datasets.Dataset:
    """lm-eval's `process_docs` of GPQA, which shuffles by the global random state, shuffled by the document instead."""
    return dataset.map(_with_choices)


def _with_choices(doc: dict[str, Any]) -> dict[str, str]:
    content = "\n".join(str(doc[column]) for column in ("Question", *WRONG, RIGHT))
    choices = [preprocess(doc[column]) for column in (*WRONG, RIGHT)]
    random.Random(hashlib.sha256(content.encode()).hexdigest()).shuffle(choices)
    right = choices.index(preprocess(doc[RIGHT]))
    return {
        **{f"choice{i}": choice for i, choice in enumerate(choices, 1)},
        "answer": f"({'ABCD'[right]})",
    }
