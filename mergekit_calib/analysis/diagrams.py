"""Reliability diagrams: confidence against accuracy, in bins of confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mergekit_calib import metrics
from mergekit_calib.items.table import ItemTable, Split, pool
from mergekit_calib.results.frontier import Reliability


def reliability_diagram(tables: Sequence[ItemTable], n_bins: int, split: Split = "held_out") -> Reliability | None:
    """Return the reliability diagram of all items with choices, pooled; None if there are none.

    Args:
        tables: one model's item tables; those without choices are ignored.
        n_bins: bins of equal width.
        split: the items to take.
    """
    parts = [table.take(table.rows(split)) for table in tables if table.has_choices]
    parts = [part for part in parts if len(part)]
    if not parts:
        return None
    table = pool(parts)
    confidence = np.nanmax(table.probabilities, axis=1)
    correct = table.labels[np.arange(len(table)), np.nanargmax(table.probabilities, axis=1)]
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    # The metrics give a confidence of exactly 1 a bin of its own; in a diagram it belongs to the last one.
    index = np.minimum(metrics.bin_index(confidence, n_bins, "width"), n_bins - 1)
    counts = np.bincount(index, minlength=n_bins)

    def mean_in_bins(values: Any) -> list[float | None]:
        sums = np.bincount(index, weights=values, minlength=n_bins)
        return [float(s / c) if c else None for s, c in zip(sums, counts, strict=True)]

    return Reliability(
        edges=edges.tolist(),
        counts=counts.tolist(),
        confidence=mean_in_bins(confidence),
        accuracy=mean_in_bins(correct),
    )
