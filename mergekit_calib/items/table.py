"""Item tables: what one model scored on the items of one task, before any metric is computed.

Every number in a report is computed from item tables. A table holds arrays and knows neither models nor files:
`scoring` fills it, `items.store` keeps it on disk, the metrics of `items.metric_registry` turn it into numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mergekit_calib.metrics import choice_probabilities, pad

Split = Literal["all", "selection", "held_out"]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Prefixes of document hashes in stored item scores. Stored scores are found by them, so they may never change.
_PREFIXES = {"selection": "selection", "held_out": "report"}


@dataclass(frozen=True)
class ItemTable:
    """Scores of one model on one task; one row for each item, in the task's own order.

    Items with fewer choices than the widest one are padded on the right: NaN in `log_likelihoods`, 0 in the lengths,
    False in `labels`. A task without choices (generation) has zero columns there.

    Attributes:
        task: the name of the lm-eval task.
        doc_ids: (n_items,) the task's document numbers.
        doc_hashes: (n_items,) lm-eval's hash of each document, the same under any `limit`.
        log_likelihoods: (n_items, max_choices) log p(choice | prompt), in nats; may be −inf.
        labels: (n_items, max_choices) which choices are correct; at least one for each item.
        choice_chars: (n_items, max_choices) length of each choice in characters (lm-eval's `acc_norm`).
        choice_bytes: (n_items, max_choices) length of each choice in UTF-8 bytes (lm-eval's `acc_bytes`).
        generations: the texts drawn for each item of a generation task; None for other tasks.
        values: the task's own metrics, each (n_items,), where the task has no choices or defines metrics itself; NaN
            for a document without that metric.
    """

    task: str
    doc_ids: NDArray[np.int64]
    doc_hashes: list[str]
    log_likelihoods: NDArray[np.float64]
    labels: NDArray[np.bool_]
    choice_chars: NDArray[np.int64]
    choice_bytes: NDArray[np.int64]
    generations: list[list[str]] | None = None
    values: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.doc_hashes)

    @property
    def has_choices(self) -> bool:
        """Whether items have choices with log-likelihoods."""
        return bool(self.log_likelihoods.shape[1])

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """The softmax of the log-likelihoods over each item's choices, (n_items, max_choices), NaN-padded."""
        return choice_probabilities(self.log_likelihoods)

    @cached_property
    def in_selection_split(self) -> NDArray[np.bool_]:
        """Whether each item is in the selection split, (n_items,); it depends on the document alone."""
        return np.array([in_selection_split(h) for h in self.doc_hashes], dtype=bool)

    def rows(self, split: Split) -> NDArray[np.bool_]:
        """Return the mask of the rows in `split`, (n_items,)."""
        if split == "all":
            return np.ones(len(self), dtype=bool)
        return self.in_selection_split if split == "selection" else ~self.in_selection_split

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> ItemTable:
        """Return the table of some rows.

        Args:
            rows: (n_items,) a mask, or the numbers of the rows.
        """
        kept = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return ItemTable(
            task=self.task,
            doc_ids=self.doc_ids[kept],
            doc_hashes=[self.doc_hashes[i] for i in kept],
            log_likelihoods=self.log_likelihoods[kept],
            labels=self.labels[kept],
            choice_chars=self.choice_chars[kept],
            choice_bytes=self.choice_bytes[kept],
            generations=None if self.generations is None else [self.generations[i] for i in kept],
            values={name: values[kept] for name, values in self.values.items()},
        )


@dataclass(frozen=True)
class ConfidenceTable(ItemTable):
    """Answers that have a confidence instead of choices, such as majorities of several draws.

    Here `probabilities` is (n_items,), the confidence in each answer, and `labels` is (n_items,), whether the answer is
    correct: the other form that the functions of `mergekit_calib.metrics` take.

    Attributes:
        confidences: (n_items,) from 0 to 1.
    """

    confidences: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """The confidences, (n_items,)."""
        return self.confidences


def confidence_table(confidences: Sequence[float] | FloatArray, correct: Sequence[bool] | BoolArray) -> ConfidenceTable:
    """Return the table of answers with a confidence, numbered from 0.

    Args:
        confidences: (n_items,) from 0 to 1.
        correct: (n_items,) whether each answer is correct.
    """
    n = len(confidences)
    none = np.empty((n, 0), dtype=np.int64)
    return ConfidenceTable(
        task="",
        doc_ids=np.arange(n),
        doc_hashes=[str(i) for i in range(n)],
        log_likelihoods=none.astype(np.float64),
        labels=np.asarray(correct, dtype=np.bool_),
        choice_chars=none,
        choice_bytes=none,
        confidences=np.asarray(confidences, dtype=np.float64),
    )


def choice_table(log_likelihoods: Sequence[Sequence[float]], labels: Sequence[Sequence[int]]) -> ItemTable:
    """Return the table of items of which only labels and log-likelihoods are known, numbered from 0.

    Args:
        log_likelihoods: (n_items,) rows of an item's choices' log-likelihoods, in nats.
        labels: (n_items,) rows of the numbers of an item's correct choices.
    """
    n = len(labels)
    padded = pad(log_likelihoods)
    is_label = np.zeros(padded.shape, dtype=np.bool_)
    for i, numbers in enumerate(labels):
        is_label[i, list(numbers)] = True
    unknown = np.zeros(padded.shape, dtype=np.int64)
    return ItemTable("", np.arange(n), [str(i) for i in range(n)], padded, is_label, unknown, unknown)


def pool(tables: Sequence[ItemTable]) -> ItemTable:
    """Return one table of the items of several, in order; `values` are kept where every table has them."""
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
        labels=widened("labels", False),  # type: ignore[arg-type]
        choice_chars=widened("choice_chars", 0),  # type: ignore[arg-type]
        choice_bytes=widened("choice_bytes", 0),  # type: ignore[arg-type]
        generations=generations if any(table.generations is not None for table in tables) else None,
        values={name: np.concatenate([table.values[name] for table in tables]) for name in sorted(shared)},
    )


def joined(parts: Sequence[ItemTable]) -> ItemTable:
    """Return one table of parts of the same task over different documents, in the task's own order."""
    names = sorted(set().union(*(part.values for part in parts)))
    completed = [replace(p, values={n: p.values.get(n, np.full(len(p), np.nan)) for n in names}) for p in parts]
    whole = replace(pool(completed), task=parts[0].task)
    order = np.argsort(whole.doc_ids, kind="stable")
    return whole.take(order)


def in_split(doc_hash: str, split: Literal["selection", "held_out"] | None) -> str:
    """Return a document's hash, prefixed with the split that its suite entry names, if it names one."""
    return f"{_PREFIXES[split]}:{doc_hash}" if split else doc_hash


def plain_hash(doc_hash: str) -> str:
    """Return a document's hash without the split that its suite entry names (`in_split`)."""
    named, _, rest = doc_hash.partition(":")
    return rest if named in _PREFIXES.values() else doc_hash


@cache  # every point, and every baseline of a sweep, has the same documents
def in_selection_split(doc_hash: str) -> bool:
    """Return whether a document is in the selection split, by its hash alone.

    The split of a document is thus the same for every model, `limit` and run. Where the suite entry names the split,
    the prefix that `in_split` gave the hash decides.
    """
    named = doc_hash.partition(":")[0]
    if named in _PREFIXES.values():
        return named == _PREFIXES["selection"]
    # The salt decides which document is in which split: it may never change.
    first_byte: int = hashlib.sha256(f"half:{doc_hash}".encode()).digest()[0]
    return first_byte % 2 == 0
