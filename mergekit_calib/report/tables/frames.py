"""The points of a sweep as a data frame: the columns of `points.csv`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mergekit_calib.report.text import formatting
from mergekit_calib.results.frontier import Frontier


def points_frame(frontier: Frontier) -> pd.DataFrame:
    """Return one row for each point, in the order in which they were scored.

    Columns: `id`, `role`, `status`, `reason`; `axis.<name>`; `<scope>.<metric>.<split>.value`, `.low`, `.high`, `.n`;
    `on_frontier` (held-out split), `p_adjusted` and `superior` (the test against every parent), `selected`, `same_as`,
    `seconds` (all stages together). A value that a point does not have is missing.
    """
    records = []
    for point in frontier.points:
        record: dict[str, Any] = {"id": point.id, "role": point.role, "status": point.status, "reason": point.reason}
        record |= {f"axis.{axis}": point.axes.get(axis) for axis in frontier.axes}
        for scope, metrics in point.metrics.items():
            for metric, splits in metrics.items():
                for split, estimate in splits.items():
                    for part in ("value", "low", "high", "n"):
                        record[f"{scope}.{metric}.{split}.{part}"] = getattr(estimate, part)
        test = point.superiority
        record["on_frontier"] = formatting.is_on_frontier(point)
        record["p_adjusted"] = test.p_adjusted if test else None
        record["superior"] = test.shown if test else None
        record |= {"selected": point.selected, "same_as": point.same_as}
        record["seconds"] = sum(point.seconds.values()) if point.seconds else None
        records.append(record)
    last = ["on_frontier", "p_adjusted", "superior", "selected", "same_as", "seconds"]
    first = ["id", "role", "status", "reason", *(f"axis.{axis}" for axis in frontier.axes)]
    measured = dict.fromkeys(key for record in records for key in record if key not in first and key not in last)
    frame: pd.DataFrame = pd.DataFrame(records, columns=[*first, *measured, *last])
    return frame
