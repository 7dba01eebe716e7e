"""A sweep as data frames: its points (the columns of `points.csv`), and what is predicted between them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mergekit_calib.report.text import formatting
from mergekit_calib.results.frontier import Frontier, PointResult


def points_frame(frontier: Frontier) -> pd.DataFrame:
    """Return one row for each point, in the order in which they were scored.

    Columns: `id`, `role`, `status`, `reason`; `axis.<name>`; `<scope>.<metric>.<split>.value`, `.low`, `.high`, `.n`;
    for each objective and parent, on the held-out split, the paired difference to the parent as
    `minus.<role>.<objective>.value`, `.low`, `.high`, `.p`; `changes.<role>.differ`, `.wrong_to_correct`,
    `.correct_to_wrong` (shares) and `.kl` (nats); `on_frontier` (held-out split), `p_adjusted` and `superior` (the test
    against every parent), `dominated_by.all`, `.selection` and `.held_out` (ids, separated by spaces), `selected`,
    `same_as`, `reused` (whether an earlier run scored it), `seconds` (all stages together). A value that a point does
    not have is missing.
    """
    first = ["id", "role", "status", "reason", *(f"axis.{axis}" for axis in frontier.axes)]
    last = ["on_frontier", "p_adjusted", "superior"]
    last += ["dominated_by.all", "dominated_by.selection", "dominated_by.held_out", "selected", "same_as", "reused"]
    last += ["seconds"]
    records = []
    for point in frontier.points:
        record: dict[str, Any] = {"id": point.id, "role": point.role, "status": point.status, "reason": point.reason}
        record |= {f"axis.{axis}": point.axes.get(axis) for axis in frontier.axes}
        record |= _measured(point) | _against_parents(frontier, point)
        test = point.superiority
        record["on_frontier"] = formatting.is_on_frontier(point)
        record["p_adjusted"] = test.p_adjusted if test else None
        record["superior"] = test.shown if test else None
        for split in ("all", "selection", "held_out"):
            record[f"dominated_by.{split}"] = " ".join(point.dominated_by.get(split, [])) or None
        record |= {"selected": point.selected, "same_as": point.same_as, "reused": point.reused}
        record["seconds"] = sum(point.seconds.values()) if point.seconds else None
        records.append(record)
    measured = dict.fromkeys(key for record in records for key in record if key not in first and key not in last)
    # The measures before the comparisons, also where the first point has none of the latter.
    in_order = sorted(measured, key=lambda key: key.startswith(("minus.", "changes.")))
    frame: pd.DataFrame = pd.DataFrame(records, columns=[*first, *in_order, *last])
    return frame


def predicted_frame(frontier: Frontier) -> pd.DataFrame:
    """Return one row for each predicted value; none if the strategy predicts none, or if the points did not predict.

    Columns: `axis`, `at` (the value of the axis), `scope`, `metric`, `split` (`all`, `selection`, `held_out`), `value`,
    and `typical_error`, that of the metric on the held-out split in standard errors. A value that is not defined is
    missing. None of them is a measurement: those are in `points_frame`.
    """
    columns = ["axis", "at", "scope", "metric", "split", "value", "typical_error"]
    records = [
        (curve.axis, at, scope, metric, split, value, curve.typical_error(scope, metric))
        for curve in ([] if frontier.predicted is None else [frontier.predicted])
        for scope, metrics in curve.metrics.items()
        for metric, splits in metrics.items()
        for split, values in splits.items()
        for at, value in zip(curve.values, values, strict=True)
    ]
    frame: pd.DataFrame = pd.DataFrame(records, columns=columns)
    return frame


def _measured(point: PointResult) -> dict[str, Any]:
    return {
        f"{scope}.{metric}.{split}.{part}": getattr(estimate, part)
        for scope, metrics in point.metrics.items()
        for metric, splits in metrics.items()
        for split, estimate in splits.items()
        for part in ("value", "low", "high", "n")
    }


def _against_parents(frontier: Frontier, point: PointResult) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for role, differences in point.differences.items():
        for objective in frontier.objectives:
            if (difference := differences.get(objective.name)) is not None:
                for part in ("value", "low", "high", "p"):
                    record[f"minus.{role}.{objective.name}.{part}"] = getattr(difference, part)
    for role, changes in point.changes.items():
        for name in type(changes).model_fields:
            record[f"changes.{role}.{name}"] = getattr(changes, name).value
    return record
