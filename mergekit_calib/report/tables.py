"""A frontier as tables and as one sentence: for Markdown, the terminal, the page and CSV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from mergekit_calib.frontier import SUITE, Estimate, Frontier, Objective, PointResult
from mergekit_calib.report import wording
from mergekit_calib.report.sentence import summary_sentence

__all__ = [
    "FrontierTable",
    "Row",
    "console_table",
    "frontier_markdown",
    "frontier_table",
    "metric_rows",
    "points_frame",
    "summary_sentence",
]

_MOST_AXES = 4  # that have a column each; of more, the points' names tell
_LESS_BIASED = ("rms_ce_debiased", "ece_debiased", "smooth_ece")


@dataclass(frozen=True)
class Row:
    """One point as a table shows it.

    Attributes:
        label: the id, with the role of a parent and the twin of a point that came out identical.
        axes: the values of the table's axis columns.
        values: (estimate, interval in brackets) of every measured column; empty for a failed point.
        superior: the outcome of the test with its adjusted p; empty where there was none.
    """

    point: PointResult
    label: str
    axes: tuple[str, ...]
    values: tuple[tuple[str, str], ...]
    on_frontier: bool
    superior: str


@dataclass(frozen=True)
class FrontierTable:
    """All points of a frontier, on the report half.

    Attributes:
        axes: titles of the axis columns; none where every id spells its point's axes out.
        measures: titles of the measured columns.
    """

    axes: tuple[str, ...]
    measures: tuple[str, ...]
    rows: tuple[Row, ...]
    caption: str


def frontier_table(frontier: Frontier) -> FrontierTable:
    """The table that every form of output is rendered from."""
    columns = measured_columns(frontier)
    points = sorted(frontier.points, key=wording.point_order)
    spelt = all(p.role or p.id == ",".join(f"{k}={wording.axis_value(v)}" for k, v in p.axes.items()) for p in points)
    axes = () if spelt or len(frontier.axes) > _MOST_AXES else tuple(frontier.axes)
    places = [wording.decimals(p.estimate(c) for p in frontier.complete_points) for c in columns]
    rows = []
    for point in points:
        estimates = [point.estimate(c) for c in columns] if point.status == "complete" else []
        rows.append(
            Row(
                point=point,
                label=_label(point),
                axes=tuple(wording.axis_value(point.axes[axis]) if axis in point.axes else "" for axis in axes),
                values=tuple(
                    (wording.number(e.value, n), wording.bracketed(e, n))
                    for e, n in zip(estimates, places, strict=False)
                ),
                on_frontier=wording.is_on_frontier(point),
                superior=_superior(point),
            )
        )
    return FrontierTable(axes, tuple(_title(frontier, c) for c in columns), tuple(rows), _caption(frontier))


def measured_columns(frontier: Frontier) -> list[Objective]:
    """The objectives, and beside a binned error its less biased estimates where they were computed."""
    columns = list(frontier.objectives)
    for objective in frontier.objectives:
        if wording.is_binned(objective.metric):
            for metric in _LESS_BIASED:
                extra = Objective(metric=metric, task=objective.task, direction="minimize")
                has = any(p.estimate(extra).value is not None for p in frontier.complete_points)
                if has and extra not in columns:
                    columns.append(extra)
    return columns


def frontier_markdown(frontier: Frontier) -> str:
    """The points as a Markdown table; names are data in it."""
    table = frontier_table(frontier)
    escape = wording.escape_markdown
    header = ["point", *map(escape, table.axes), *map(escape, table.measures), "frontier", "superior", "selected"]
    align = [":--", *["--:"] * (len(table.axes) + len(table.measures)), ":-:", ":--", ":-:"]
    lines = [header, align]
    for row in table.rows:
        if row.point.status == "failed":
            measured = [f"failed: {escape(_reason(row.point))}", *[""] * len(table.measures)]
            measured = measured[: max(1, len(table.measures))]
        else:
            measured = [f"{value} {span}".rstrip() for value, span in row.values]
        label = escape(row.label)
        lines.append(
            [
                f"**{label}**" if row.point.selected else label,
                *map(escape, row.axes),
                *measured,
                "●" if row.on_frontier else "",
                row.superior,
                "★" if row.point.selected else "",
            ]
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def console_table(frontier: Frontier) -> Table:
    """The points for a terminal, the objectives only: two of them fit into 80 columns.

    Names are plain text: markup in them is printed, not obeyed. Reasons of failures stand under the table.
    """
    source = frontier_table(frontier)
    shown = len(frontier.objectives)
    failures = [f"{r.point.id} failed: {_reason(r.point)}" for r in source.rows if r.point.status == "failed"]
    caption = Text("\n".join([source.caption, *failures]))
    table = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left", pad_edge=False, show_edge=False)
    table.add_column("point", overflow="fold")
    for title in source.axes:
        table.add_column(Text(title), justify="right")
    for title in source.measures[:shown]:
        table.add_column(Text(title.replace(" (", "\n(")), justify="right")
    table.add_column("●", justify="center")
    table.add_column("superior", justify="right", no_wrap=True)
    for row in source.rows:
        failed = row.point.status == "failed"
        label = Text(row.label + (" ★" if row.point.selected else ""))
        cells = [Text.assemble(value, (f" {span}" if span else "", "dim")) for value, span in row.values[:shown]]
        if failed:
            cells = [Text("failed"), *[Text()] * (shown - 1)]
        style = "red" if failed else "bold green" if row.point.selected else "" if row.on_frontier else "dim"
        test = row.point.superiority
        superior = "" if test is None else f"{'✓ ' if test.shown else ''}p {wording.p_value(test.p_adjusted)}"
        axes = [Text(value) for value in row.axes]
        table.add_row(label, *axes, *cells, "●" if row.on_frontier else "", superior, style=style)
    return table


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
            name = "all tasks pooled" if scope == SUITE else scope
            value, span = wording.number(estimate.value, places), wording.bracketed(estimate, places)
            rows.append((name, metric, value, span, estimate.n))
    return rows


def _reason(point: PointResult) -> str:
    return point.reason or "no reason recorded"


def _label(point: PointResult) -> str:
    label = f"{point.id} ({point.role})" if point.role and point.id != point.role else point.id
    return f"{label}, same as {point.same_as}" if point.same_as else label


def _superior(point: PointResult) -> str:
    if point.superiority is None:
        return ""
    return f"{'shown' if point.superiority.shown else 'not shown'}, p {wording.p_value(point.superiority.p_adjusted)}"


def _title(frontier: Frontier, column: Objective) -> str:
    bins = f" ({frontier.n_bins} bins)" if wording.is_binned(column.metric) else ""
    return f"{column.name} {wording.arrow(column)}{bins}"


def _caption(frontier: Frontier) -> str:
    counts = {o.name: wording.item_counts(frontier, o) for o in frontier.objectives}
    known = {n for n in counts.values() if n}
    if len(known) == 1 and all(counts.values()):
        items = f"n = {known.pop():,} items of the report half"
    else:
        sizes = "; ".join(f"{name}: n = {n:,}" for name, n in counts.items() if n)
        items = f"the report half{f' ({sizes})' if sizes else ''}"
    level, alpha = wording.percent(frontier.level), wording.percent(1 - frontier.level)
    return (
        f"Measured on {items}, with {level} bootstrap intervals. ● not dominated there; "
        f"superior: better than both parents, tested at the {alpha} level over all points; ★ selected."
    )
