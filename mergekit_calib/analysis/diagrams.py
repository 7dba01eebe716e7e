"""Confidence against accuracy, as a picture needs it."""

from __future__ import annotations

from typing import Any

import numpy as np

from mergekit_calib import metrics
from mergekit_calib.analysis.estimation import scopes
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import Split, pool
from mergekit_calib.results.frontier import SUITE, Reliability


def reliability_diagram(tables: Tables, n_bins: int, split: Split = "held_out") -> Reliability | None:
    """Confidence against accuracy on one split of the pooled items; None without items with choices."""
    parts = [t.take(t.rows(split)) for t in scopes(tables)[SUITE] if t.has_choices]
    parts = [part for part in parts if len(part)]
    if not parts:
        return None
    table = pool(parts)
    confidence = np.nanmax(table.probabilities, axis=1)
    right = table.labels[np.arange(len(table)), np.nanargmax(table.probabilities, axis=1)]
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    # A confidence of exactly 1 has a bin of its own in the metrics; in a picture it belongs to the last.
    index = np.minimum(metrics.bin_index(confidence, n_bins, "width"), n_bins - 1)
    counts = np.bincount(index, minlength=n_bins)

    def mean_in_bins(values: Any) -> list[float | None]:
        sums = np.bincount(index, weights=values, minlength=n_bins)
        return [float(s / c) if c else None for s, c in zip(sums, counts, strict=True)]

    return Reliability(
        edges=edges.tolist(), counts=counts.tolist(), confidence=mean_in_bins(confidence), accuracy=mean_in_bins(right)
    )
