"""Item tables: what one model scored on the items of one task, before any metric is taken.

An item table is the truth that every number in a report is computed from. It knows arrays, not models,
tasks or files: `scoring/` fills it, `search/` keeps it on disk, `objectives.py` turns it into numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mergekit_calib.metrics import choice_probabilities

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
        values: the task's own metrics of each document, where it has no choices or defines them itself; NaN for a
            document that it gives none.
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
        return choice_probabilities(self.log_likelihoods)

    @cached_property
    def in_selection_half(self) -> NDArray[np.bool_]:
        """(n_items,) which half each item belongs to, by its document alone."""
        return np.array([in_selection_half(h) for h in self.doc_hashes], dtype=bool)

    def rows(self, half: Half) -> NDArray[np.bool_]:
        """(n_items,) mask of the rows in `half`."""
        if half == "all":
            return np.ones(len(self), dtype=bool)
        return self.in_selection_half if half == "selection" else ~self.in_selection_half

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> ItemTable:
        """The table of the rows where the mask `rows` (n_items,) is true, or of the rows with these numbers."""
        kept = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return ItemTable(
            task=self.task,
            doc_ids=self.doc_ids[kept],
            doc_hashes=[self.doc_hashes[i] for i in kept],
            log_likelihoods=self.log_likelihoods[kept],
            gold=self.gold[kept],
            choice_chars=self.choice_chars[kept],
            choice_bytes=self.choice_bytes[kept],
            generations=None if self.generations is None else [self.generations[i] for i in kept],
            values={name: values[kept] for name, values in self.values.items()},
        )


def pool(tables: Sequence[ItemTable]) -> ItemTable:
    """One table of the items of several, in order; values are kept where every table has them."""
    if len(tables) == 1:
        return tables[0]
    width = max(table.log_likelihoods.shape[1] for table in tables)
    shared = set.intersection(*(set(table.values) for table in tables))

    def widened(name: str, fill: float | bool) -> NDArray[np.generic]:
        padded = []
        for table in tables:
            array = getattr(table, name)
            padded.append(np.pad(array, ((0, 0), (0, width - array.shape[1])), constant_values=fill))
        return np.concatenate(padded)

    generations = [g for table in tables for g in table.generations or [[]] * len(table)]
    return ItemTable(
        task="+".join(table.task for table in tables),
        doc_ids=np.concatenate([table.doc_ids for table in tables]),
        doc_hashes=[h for table in tables for h in table.doc_hashes],
        log_likelihoods=widened("log_likelihoods", np.nan),  # type: ignore[arg-type]
        gold=widened("gold", False),  # type: ignore[arg-type]
        choice_chars=widened("choice_chars", 0),  # type: ignore[arg-type]
        choice_bytes=widened("choice_bytes", 0),  # type: ignore[arg-type]
        generations=generations if any(table.generations is not None for table in tables) else None,
        values={name: np.concatenate([table.values[name] for table in tables]) for name in sorted(shared)},
    )


def joined(parts: Sequence[ItemTable]) -> ItemTable:
    """One table of several of the same task, over different documents, in the task's own order."""
    names = sorted(set().union(*(part.values for part in parts)))
    alike = [replace(p, values={n: p.values.get(n, np.full(len(p), np.nan)) for n in names}) for p in parts]
    whole = replace(pool(alike), task=parts[0].task)
    order = np.argsort(whole.doc_ids, kind="stable")
    return whole.take(order)


def in_half(doc_hash: str, half: Literal["selection", "report"] | None) -> str:
    """A document's hash, telling also which half its suite entry puts it into, if it does."""
    return f"{half}:{doc_hash}" if half else doc_hash


def in_selection_half(doc_hash: str) -> bool:
    """Whether a document is one that points are chosen on, rather than reported on.

    A function of the document alone, so the split is the same for every model, `limit` and run; unless its suite entry
    names a half, of which `in_half` makes the hash tell.
    """
    named = doc_hash.partition(":")[0]
    if named in ("selection", "report"):
        return named == "selection"
    first_byte: int = hashlib.sha256(f"half:{doc_hash}".encode()).digest()[0]
    return first_byte % 2 == 0
