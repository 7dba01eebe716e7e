"""From which confidence points can answer: thresholds chosen on the selection split, verified on the held-out split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mergekit_calib import metrics
from mergekit_calib.analysis.stored_sweep import StoredSweep
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable, Split, pool
from mergekit_calib.metrics.answering import answered_from, plain_threshold, safe_threshold
from mergekit_calib.results.answering_findings import Answering, AnsweringPoint, AnsweringThreshold
from mergekit_calib.results.findings import Estimate
from mergekit_calib.results.frontier import Frontier

DEFAULT_MAX_ERROR = 0.05
_MOST_POINTS_OF_CURVE = 200


def points_to_answer(frontier: Frontier) -> list[str]:
    """Return the ids of the points that thresholds are given for: the chosen one and the parents that are scored."""
    points = [frontier.selected, *frontier.parents]
    return list(dict.fromkeys(p.id for p in points if p is not None and p.status == "complete"))


def answering(tables: Mapping[str, Tables], max_error: float, level: float) -> Answering | None:
    """Return from which confidence each of some points can answer; None if no item in one of the splits has choices.

    Args:
        tables: point id → its scores, of the same items.
        max_error: the largest share of wrong answers among those given, above 0 and below 1.
        level: the confidence level of intervals and of the margin.
    """
    points = {}
    sizes = {"selection": 0, "held_out": 0}
    for point, scores in tables.items():
        selection, held_out = _with_choices(scores, "selection"), _with_choices(scores, "held_out")
        if selection is None or held_out is None:
            return None
        sizes = {"selection": len(selection), "held_out": len(held_out)}
        points[point] = _of_point(selection, held_out, max_error, level)
    if not points:
        return None
    every_table = [table for some in next(iter(tables.values())).values() for table in some]
    return Answering(
        max_error=max_error,
        level=level,
        n_selection=sizes["selection"],
        n_held_out=sizes["held_out"],
        left_out=[table.task for table in every_table if not table.has_choices],
        points=points,
    )


def answering_of_stored(stored: StoredSweep, max_error: float = DEFAULT_MAX_ERROR) -> Answering | None:
    """Return `answering` of a finished sweep's chosen point and parents, from its item scores.

    Args:
        stored: the sweep.
        max_error: as in `answering`.

    Raises:
        CalibError: item scores are missing or damaged.
    """
    tables = {point: stored.tables(point) for point in points_to_answer(stored.frontier)}
    return answering(tables, max_error, stored.frontier.level)


def _of_point(selection: ItemTable, held_out: ItemTable, max_error: float, level: float) -> AnsweringPoint:
    arguments = selection.probabilities, selection.labels, max_error
    safe = safe_threshold(*arguments, level)
    found = safe or plain_threshold(*arguments)
    everything = answered_from(held_out.probabilities, held_out.labels, 0.0)
    chosen = None
    if found is not None:
        verified = answered_from(held_out.probabilities, held_out.labels, found.threshold)
        chosen = AnsweringThreshold(
            threshold=found.threshold,
            safe=safe is not None,
            selection_coverage=found.coverage,
            selection_error=found.error,
            coverage=_share(verified.n_answered, verified.n_items, level),
            error=_share(verified.n_wrong, verified.n_answered, level),
        )
    return AnsweringPoint(
        chosen=chosen,
        error_of_all=_share(everything.n_wrong, everything.n_items, level),
        curve=_curve(held_out),
    )


def _curve(table: ItemTable) -> list[tuple[float, float]]:
    curve = metrics.risk_coverage_curve(table.probabilities, table.labels)
    last = len(curve.coverage) - 1
    kept = np.unique(np.linspace(0, last, min(_MOST_POINTS_OF_CURVE, last + 1)).round().astype(int))
    return [(round(float(curve.coverage[i]), 5), round(float(curve.risk[i]), 5)) for i in kept]


def _share(count: int, n: int, level: float) -> Estimate:
    """Return a share with its Wilson interval; without a value if it is of nothing."""
    if not n:
        return Estimate(value=None)
    low, high = metrics.wilson_interval(count / n, n, level)
    return Estimate(value=count / n, low=float(low), high=float(high), n=n)


def _with_choices(scores: Tables, split: Split) -> ItemTable | None:
    every_table: Iterable[ItemTable] = [table for some in scores.values() for table in some if table.has_choices]
    parts = [part for table in every_table if len(part := table.take(table.rows(split)))]
    return pool(parts) if parts else None
