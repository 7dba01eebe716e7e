"""A frontier as tables, for Markdown and CSV; the terminal's is in `terminal.py`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mergekit_calib.report.tables.rows import FrontierTable, Row, frontier_table
from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.answer import summary_sentence
from mergekit_calib.results.frontier import MACRO, SUITE, Estimate, Frontier, PointResult

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
    escape = formatting.escape_markdown
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

    Columns: `id`, `role`, `status`, `reason`; `axis.<name>`; `<scope>.<metric>.<split>.value`, `.low`, `.high`, `.n`;
    `on_frontier` (held-out split), `p_adjusted` and `superior` (the test against both parents), `selected`, `same_as`,
    `seconds` (all stages together). What a point does not have is missing.
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


def metric_rows(point: PointResult) -> list[tuple[str, str, str, str, int]]:
    """Every metric of a point on the held-out split: scope, metric, value, interval, items."""
    rows = []
    for scope, metrics in point.metrics.items():
        for metric, splits in metrics.items():
            estimate = splits.get("held_out", Estimate(value=None))
            places = formatting.decimals([estimate])
            name = {SUITE: "all tasks pooled", MACRO: "average of tasks"}.get(scope, scope)
            value, span = formatting.number(estimate.value, places), formatting.bracketed(estimate, places)
            rows.append((name, metric, value, span, estimate.n))
    return rows
