"""A frontier as tables, for Markdown and CSV; the terminal's is in `terminal.py`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mergekit_calib.frontier import MACRO, SUITE, Estimate, Frontier, PointResult
from mergekit_calib.report import wording
from mergekit_calib.report.rows import FrontierTable, Row, frontier_table
from mergekit_calib.report.sentence import summary_sentence

__all__ = [
    "FrontierTable",
    "Row",
    "frontier_markdown",
    "frontier_table",
    "metric_rows",
    "points_frame",
    "summary_sentence",
]


def frontier_markdown(frontier: Frontier) -> str:
    """The points as a Markdown table; names are data in it."""
    table = frontier_table(frontier)
    escape = wording.escape_markdown
    header = ["point", *map(escape, table.axes), *map(escape, table.measures), "frontier", "superior", "selected"]
    align = [":--", *["--:"] * (len(table.axes) + len(table.measures)), ":-:", ":--", ":-:"]
    lines = [header, align]
    for row in table.rows:
        if row.outcome:
            measured = [escape(row.outcome), *[""] * len(table.measures)]
            measured = measured[: max(1, len(table.measures))]
        else:
            measured = [f"{value} {span}".rstrip() for value, span in row.values]
        label = escape(row.label)
        lines.append(
            [
                f"**{label}**" if row.point.selected else label,
                *map(escape, row.axes),
                *measured,
                row.frontier,
                row.superior,
                "★" if row.point.selected else "",
            ]
        )
    for baseline in table.baselines:
        measured = [f"{value} {span}".rstrip() for value, span in baseline.values]
        lines.append([escape(baseline.label), *[""] * len(table.axes), *measured, "baseline", "", ""])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def points_frame(frontier: Frontier) -> pd.DataFrame:
    """The points flat, one row each, in the order they were scored: the columns of `points.csv`.

    Columns: `id`, `role`, `status`, `reason`; `axis.<name>`; `<scope>.<metric>.<half>.value`, `.low`, `.high`, `.n`;
    `on_frontier` (report half), `p_adjusted` and `superior` (the test against both parents), `selected`, `same_as`,
    `seconds` (all stages together). What a point does not have is missing.
    """
    records = []
    for point in frontier.points:
        record: dict[str, Any] = {"id": point.id, "role": point.role, "status": point.status, "reason": point.reason}
        record |= {f"axis.{axis}": point.axes.get(axis) for axis in frontier.axes}
        for scope, metrics in point.metrics.items():
            for metric, halves in metrics.items():
                for half, estimate in halves.items():
                    for part in ("value", "low", "high", "n"):
                        record[f"{scope}.{metric}.{half}.{part}"] = getattr(estimate, part)
        test = point.superiority
        record["on_frontier"] = wording.is_on_frontier(point)
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


def metric_rows(point: PointResult) -> list[tuple[str, str, str, str, int]]:
    """Every metric of a point on the report half: scope, metric, value, interval, items."""
    rows = []
    for scope, metrics in point.metrics.items():
        for metric, halves in metrics.items():
            estimate = halves.get("report", Estimate(value=None))
            places = wording.decimals([estimate])
            name = {SUITE: "all tasks pooled", MACRO: "average of tasks"}.get(scope, scope)
            value, span = wording.number(estimate.value, places), wording.bracketed(estimate, places)
            rows.append((name, metric, value, span, estimate.n))
    return rows
