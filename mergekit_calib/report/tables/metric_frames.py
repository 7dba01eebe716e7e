"""A sweep's points as data frames for analysis: a tidy one with a row for each estimate, and a wide one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from mergekit_calib.errors import CalibError
from mergekit_calib.report.text import formatting
from mergekit_calib.results.findings import SUITE, Objective
from mergekit_calib.results.frontier import Frontier, PointResult

MOST_COLUMNS = 30
_PARTS = ("value", "low", "high")


def long_frame(frontier: Frontier, measures: Sequence[Objective] = ()) -> pd.DataFrame:
    """Return one row for each estimate of a point.

    Columns: `point`; `axis.<name>` for each axis, missing for a point that is not on it; `task` (a suite entry, `suite`
    for all items pooled, `macro` for the average of the entries), `metric`, `split` (`all`, `selection`, `held_out`),
    `value`, `low` and `high` (the interval), `n` (items). Points that failed have no rows.

    Args:
        frontier: the sweep.
        measures: the metrics; all that the points have, if none.
    """
    axes = [f"axis.{axis}" for axis in frontier.axes]
    wanted = {(m.scope, m.key) for m in measures}
    records = [
        (point.id, *(point.axes.get(axis) for axis in frontier.axes), scope, metric, split, e.value, e.low, e.high, e.n)
        for point in frontier.complete_points
        for scope, metrics in point.metrics.items()
        for metric, splits in metrics.items()
        if not wanted or (scope, metric) in wanted
        for split, e in splits.items()
    ]
    frame: pd.DataFrame = pd.DataFrame(records, columns=["point", *axes, "task", "metric", "split", *_PARTS, "n"])
    return frame


def wide_frame(frontier: Frontier, measures: Sequence[Objective] = ()) -> pd.DataFrame:
    """Return one row for each point, in the order in which they were scored, in at most 30 columns.

    Columns: `id`, `role`, `status`; `axis.<name>`, unless there are more axes than fit, whose values the ids have too;
    metrics on the held-out split as `<name>`, `<name>.low` and `<name>.high`; `on_frontier`, `superior`, `selected`.
    A value that a point does not have is missing.

    Args:
        frontier: the sweep.
        measures: the metrics. If they do not all fit with their intervals, none has its interval. If none are given,
            the objectives with their intervals, then values of other metrics of all items pooled, as many as fit.

    Raises:
        CalibError: more metrics are asked for than fit.
    """
    fixed = ["id", "role", "status", "on_frontier", "superior", "selected"]
    asked = list(measures) or list(frontier.objectives)
    axes = list(frontier.axes) if len(fixed) + len(frontier.axes) + len(asked) <= MOST_COLUMNS else []
    left = MOST_COLUMNS - len(fixed) - len(axes)
    if len(asked) > left:
        raise CalibError(
            f"{len(asked)} metrics do not fit into a table of at most {MOST_COLUMNS} columns; ask for at most {left}, "
            "or for the long form, points_frame(long=True)"
        )
    parts = _PARTS if len(_PARTS) * len(asked) <= left else _PARTS[:1]
    columns = [(measure, part) for measure in asked for part in parts]
    if not measures:
        others = [(o, "value") for o in _others(frontier) if o.name not in {m.name for m in asked}]
        columns += others[: left - len(columns)]

    def record(point: PointResult) -> dict[str, Any]:
        cells: dict[str, Any] = {"id": point.id, "role": point.role, "status": point.status}
        cells |= {f"axis.{axis}": point.axes.get(axis) for axis in axes}
        for measure, part in columns:
            cells[_title(measure, part)] = getattr(point.estimate(measure), part)
        superior = point.superiority.shown if point.superiority else None
        return cells | {
            "on_frontier": formatting.is_on_frontier(point),
            "superior": superior,
            "selected": point.selected,
        }

    titles = [*(f"axis.{axis}" for axis in axes), *(_title(measure, part) for measure, part in columns)]
    frame: pd.DataFrame = pd.DataFrame(map(record, frontier.points), columns=[*fixed[:3], *titles, *fixed[3:]])
    return frame


def _title(measure: Objective, part: str) -> str:
    return measure.name if part == "value" else f"{measure.name}.{part}"


def _others(frontier: Frontier) -> list[Objective]:
    """Return the metrics that the points have of all items pooled; which way is better plays no part here."""
    keys = dict.fromkeys(key for p in frontier.complete_points for key in p.metrics.get(SUITE, {}))
    return [Objective(metric=key, direction="maximize") for key in keys]
