"""Item tables: what one model scored on the items of one task, before any metric is taken.

An item table is the truth that every number in a report is computed from. It knows arrays, not models,
tasks or files: `scoring/` fills it, `search/` keeps it on disk, `objectives.py` turns it into numbers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Half = Literal["all", "selection", "report"]


@dataclass(frozen=True)
class ItemTable:
    """Scores of one model on one task; one row an item, in the task's own order.

    Items with fewer choices than the widest one are padded on the right: NaN in `log_likelihoods`,
    0 in the lengths, False in `gold`. A task without choices (generation) has zero columns there.

    Attributes:
        task: the name of the lm-eval task.
        doc_ids: (n_items,) the task's document numbers.
        doc_hashes: (n_items,) lm-eval's hash of each document, the same under any `limit`.
        log_likelihoods: (n_items, max_choices) log p(choice | prompt), in nats; may be -inf.
        gold: (n_items, max_choices) which choices are right; at least one an item.
        choice_chars: (n_items, max_choices) length of each choice in characters (lm-eval's `acc_norm`).
        choice_bytes: (n_items, max_choices) length of each choice in UTF-8 bytes (lm-eval's `acc_bytes`).
        generations: for generation tasks, the texts drawn for each item.
        values: the task's own metrics of each document, where it has no choices or defines them itself.
    """

    task: str
    doc_ids: NDArray[np.int64]
    doc_hashes: list[str]
    log_likelihoods: NDArray[np.float64]
    gold: NDArray[np.bool_]
    choice_chars: NDArray[np.int64]
    choice_bytes: NDArray[np.int64]
    generations: list[list[str]] | None = None
    values: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.doc_hashes)

    @property
    def has_choices(self) -> bool:
        return self.log_likelihoods.shape[1] > 0

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """(n_items, max_choices) softmax of the log-likelihoods over each item's choices; NaN-padded."""
        ll = self.log_likelihoods
        top = np.nanmax(ll, axis=1, keepdims=True)
        weights = np.exp(ll - np.where(np.isneginf(top), 0.0, top))
        return weights / np.nansum(weights, axis=1, keepdims=True)

    @cached_property
    def in_selection_half(self) -> NDArray[np.bool_]:
        """(n_items,) which half each item belongs to, by its document alone."""
        return np.array([in_selection_half(h) for h in self.doc_hashes], dtype=bool)

    def rows(self, half: Half) -> NDArray[np.bool_]:
        """(n_items,) mask of the rows in `half`."""
        if half == "all":
            return np.ones(len(self), dtype=bool)
        return self.in_selection_half if half == "selection" else ~self.in_selection_half


def in_selection_half(doc_hash: str) -> bool:
    """Whether a document is one that points are chosen on, rather than reported on.

    A function of the document alone, so the split is the same for every model, `limit` and run.
    """
    return hashlib.sha256(f"half:{doc_hash}".encode()).digest()[0] % 2 == 0
