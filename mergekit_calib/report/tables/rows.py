"""The rows of a frontier's table, as every form of output is rendered from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mergekit_calib.report.text import formatting
from mergekit_calib.results.frontier import Baseline, Estimate, Frontier, Objective, PointResult

_MOST_AXES = 4  # that have a column each; of more, the points' names tell
_LESS_BIASED = ("rms_ce_debiased", "ece_debiased", "smooth_ece")


@dataclass(frozen=True)
class Row:
    """One point as a table shows it.

    Attributes:
        label: the id, with the role of a parent and the twin of a point that came out identical.
        axes: the values of the table's axis columns.
        values: (estimate, interval in brackets) of every measured column; empty for a point that is not complete.
        frontier: a mark where it is on the frontier, and in what share of resamples it is.
        superior: the outcome of the test with its adjusted p; empty where there was none.
    """

    point: PointResult
    label: str
    axes: tuple[str, ...]
    values: tuple[tuple[str, str], ...]
    on_frontier: bool
    frontier: str
    superior: str

    @property
    def outcome(self) -> str:
        """`failed: …` or `stopped: …` with the reason, in place of numbers; empty for a complete point."""
        if self.point.status == "complete":
            return ""
        return f"{self.point.status}: {self.point.reason or 'no reason recorded'}"


@dataclass(frozen=True)
class BaselineRow:
    """A baseline as a table shows it: its values in the columns that it has."""

    label: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class FrontierTable:
    """All points of a frontier, and the baselines below them, on the held-out split.

    Attributes:
        axes: titles of the axis columns; none where every id spells its point's axes out.
        measures: titles of the measured columns.
    """

    axes: tuple[str, ...]
    measures: tuple[str, ...]
    rows: tuple[Row, ...]
    baselines: tuple[BaselineRow, ...]
    caption: str


def frontier_table(frontier: Frontier) -> FrontierTable:
    """The table that every form of output is rendered from."""
    columns = measured_columns(frontier)
    points = sorted(frontier.points, key=formatting.point_order)
    written = {p.id: ",".join(f"{k}={formatting.axis_value(v)}" for k, v in p.axes.items()) for p in points}
    spelt = all(p.role or p.id == written[p.id] for p in points)
    axes = () if spelt or len(frontier.axes) > _MOST_AXES else tuple(frontier.axes)
    places = [formatting.decimals(p.estimate(c) for p in frontier.complete_points) for c in columns]
    rows = []
    for point in points:
        estimates = [point.estimate(c) for c in columns] if point.status == "complete" else []
        rows.append(
            Row(
                point=point,
                label=_label(point),
                axes=tuple(formatting.axis_value(point.axes[axis]) if axis in point.axes else "" for axis in axes),
                values=_cells(estimates, places),
                on_frontier=formatting.is_on_frontier(point),
                frontier=_frontier(point),
                superior=_superior(point),
            )
        )
    baselines = [
        BaselineRow(baseline_label(frontier, b), _cells([b.estimate(c) for c in columns], places))
        for b in frontier.baselines
    ]
    titles = tuple(_title(frontier, c) for c in columns)
    return FrontierTable(axes, titles, tuple(rows), tuple(baselines), _caption(frontier))


def baseline_label(frontier: Frontier, baseline: Baseline) -> str:
    """`aligned, T = 1.83`, or `aligned, T by task`; `parents averaged`."""
    if baseline.kind == "average":
        return "parents averaged"
    of = baseline.of[0]
    fitted = [f"= {t:.2f}" for t in baseline.temperatures.values()]
    role = next((p.role for p in frontier.points if p.id == of and p.role), of)
    return f"{role}, T {fitted[0] if len(fitted) == 1 else 'by task'}"


def measured_columns(frontier: Frontier) -> list[Objective]:
    """The objectives, and beside a binned error its less biased estimates where they were computed."""
    columns = list(frontier.objectives)
    for objective in frontier.objectives:
        if formatting.is_binned(objective.metric):
            for metric in _LESS_BIASED:
                extra = objective.model_copy(update={"metric": metric, "direction": "minimize"})
                has = any(p.estimate(extra).value is not None for p in frontier.complete_points)
                if has and extra not in columns:
                    columns.append(extra)
    return columns


def _label(point: PointResult) -> str:
    label = f"{point.id} ({point.role})" if point.role and point.id != point.role else point.id
    return f"{label}, same as {point.same_as}" if point.same_as else label


def _cells(estimates: Iterable[Estimate], places: Iterable[int]) -> tuple[tuple[str, str], ...]:
    pairs = zip(estimates, places, strict=False)
    return tuple((formatting.number(e.value, n), formatting.bracketed(e, n)) for e, n in pairs)


def _frontier(point: PointResult) -> str:
    mark = "●" if formatting.is_on_frontier(point) else ""
    share = point.frontier_probability
    return mark if share is None else f"{mark} {formatting.percent(round(share, 2))}".strip()


def _superior(point: PointResult) -> str:
    if point.superiority is None:
        return ""
    verdict = "shown" if point.superiority.shown else "not shown"
    return f"{verdict}, p {formatting.p_value(point.superiority.p_adjusted)}"


def _title(frontier: Frontier, column: Objective) -> str:
    bins = f" ({frontier.n_bins} bins)" if formatting.is_binned(column.metric) else ""
    return f"{column.name} {formatting.arrow(column)}{bins}"


def _caption(frontier: Frontier) -> str:
    counts = {o.name: formatting.item_counts(frontier, o) for o in frontier.objectives}
    known = {n for n in counts.values() if n}
    if len(known) == 1 and all(counts.values()):
        items = f"n = {known.pop():,} items of the held-out split"
    else:
        sizes = "; ".join(f"{name}: n = {n:,}" for name, n in counts.items() if n)
        items = f"the held-out split{f' ({sizes})' if sizes else ''}"
    level, alpha = formatting.percent(frontier.level), formatting.percent(1 - frontier.level)
    probable = any(p.frontier_probability is not None for p in frontier.points)
    caption = (
        f"Measured on {items}, with {level} bootstrap intervals. ● not dominated there"
        f"{', and in what share of resamples a point is not' if probable else ''}; "
        f"superior: better than both parents, tested at the {alpha} level over all points; ★ selected."
    )
    if frontier.baselines:
        caption += (
            " Baselines, below the points, are computed from item scores: T is a temperature fitted on each task's "
            "selection split; averaging the parents' probabilities runs both models for each answer."
        )
    return caption
