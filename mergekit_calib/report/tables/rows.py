"""The rows of a sweep's table of points: terminal, page, card and exports are rendered from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.parent_texts import every_parent
from mergekit_calib.report.text.rule_measures import scores_chosen_on
from mergekit_calib.results.findings import Estimate, Objective
from mergekit_calib.results.frontier import Frontier, PointResult
from mergekit_calib.results.names import axis_name, point_name

_MOST_AXES = 4  # with more axes, none has a column: the points' names contain their values
_LESS_BIASED = ("rms_ce_debiased", "ece_debiased", "smooth_ece")


@dataclass(frozen=True)
class Row:
    """One point as a table shows it.

    Attributes:
        point: the point.
        label: its name, with its role if it is a parent, and the earlier point with identical weights, if any.
        axes: the values of the table's axis columns.
        values: (estimate, interval in brackets) of every measured column; empty for a point that is not complete.
        chosen_on: estimates on the items that the point is chosen on, of every column of
            `FrontierTable.chosen_on_measures`; empty for a point that is not complete.
        outcome: `failed: …` or `stopped: …` with the reason, in place of numbers; empty for a complete point.
        on_frontier: whether it is on the frontier of the held-out split.
        frontier: a mark if it is on the frontier, and the share of resamples in which it is.
        superior: ✓ if it is shown to be better than every parent in every objective; else empty.
    """

    point: PointResult
    label: str
    axes: tuple[str, ...]
    values: tuple[tuple[str, str], ...]
    chosen_on: tuple[str, ...]
    outcome: str
    on_frontier: bool
    frontier: str
    superior: str


@dataclass(frozen=True)
class BaselineRow:
    """A baseline as a table shows it, or a model as it will be served.

    Attributes:
        name: its name below a heading with `group`.
        values: (estimate, interval in brackets) of every measured column.
        shown: whether it stands in short tables too.
        group: `baselines`, or how the model is served.
    """

    name: str
    values: tuple[tuple[str, str], ...]
    shown: bool
    group: str = "baselines"

    @property
    def label(self) -> str:
        """Its name without a heading above it."""
        return self.name if self.kind == "baseline" else f"{self.name}, {self.group}"

    @property
    def kind(self) -> str:
        """`baseline`, or `as served`."""
        return "baseline" if self.group == "baselines" else "as served"


@dataclass(frozen=True)
class FrontierTable:
    """All points of a sweep, and the baselines below them.

    Attributes:
        axes: titles of the axis columns; none if every point's name contains its settings.
        measures: titles of the columns measured on the held-out split: the objectives, then what goes with them.
        chosen_on: the items that the choice was made on: `selection split`, or `all items`.
        chosen_on_measures: titles of the columns measured on them: the objectives, then the proper scores that the rule
            looked at.
        rows: the points.
        baselines: the baselines, then the models as they will be served.
        caption: how to read the table.
    """

    axes: tuple[str, ...]
    measures: tuple[str, ...]
    chosen_on: str
    chosen_on_measures: tuple[str, ...]
    rows: tuple[Row, ...]
    baselines: tuple[BaselineRow, ...]
    caption: str

    @property
    def short(self) -> FrontierTable:
        """The table without the baselines that short tables leave out."""
        return replace(self, baselines=tuple(b for b in self.baselines if b.shown))


def frontier_table(frontier: Frontier, measures: Sequence[Objective] = ()) -> FrontierTable:
    """Return the table of a sweep's points and baselines.

    Args:
        frontier: the sweep.
        measures: the metrics of its columns; if none, the objectives, and what the point was chosen on.
    """
    columns = list(measures) or measured_columns(frontier)
    chosen_on, split = [*frontier.objectives, *scores_chosen_on(frontier)], formatting.chosen_split(frontier)
    chosen_on = [] if measures else chosen_on
    points = sorted(frontier.points, key=formatting.point_order)
    settings = {p.id: ",".join(f"{k}={formatting.axis_value(v)}" for k, v in p.axes.items()) for p in points}
    named_by_settings = all(p.role or p.id == settings[p.id] for p in points)
    axes = () if named_by_settings or len(frontier.axes) > _MOST_AXES else tuple(frontier.axes)
    places = [formatting.decimals(p.estimate(c) for p in frontier.complete_points) for c in columns]
    rows = []
    for point in points:
        is_complete = point.status == "complete"
        estimates = [point.estimate(c) for c in columns] if is_complete else []
        values_chosen_on = [formatting.number(point.estimate(c, split).value) for c in chosen_on if is_complete]
        rows.append(
            Row(
                point=point,
                label=_label(point),
                axes=tuple(formatting.axis_value(point.axes[axis]) if axis in point.axes else "" for axis in axes),
                values=_cells(estimates, places),
                chosen_on=tuple(values_chosen_on),
                outcome=_outcome(frontier, point),
                on_frontier=formatting.is_on_frontier(point),
                frontier=_frontier(point),
                superior="✓" if point.superiority is not None and point.superiority.shown else "",
            )
        )
    baselines = [
        BaselineRow(formatting.baseline_name(frontier, b), _cells([b.estimate(c) for c in columns], places), b.shown)
        for b in frontier.baselines
        if not measures or any(b.estimate(c).value is not None for c in columns)
    ]
    for check in frontier.served:
        group = f"as served ({check.form})"
        for model in check.models:
            name = formatting.name_with_role(frontier.point(model.point))
            baselines.append(BaselineRow(name, _cells([model.estimate(c) for c in columns], places), True, group))
    return FrontierTable(
        axes=tuple(map(axis_name, axes)),
        measures=tuple(_title(frontier, c) for c in columns),
        chosen_on=formatting.chosen_on(frontier).removeprefix("the "),
        chosen_on_measures=tuple(f"{c.name} {formatting.arrow(c)}" for c in chosen_on),
        rows=tuple(rows),
        baselines=tuple(baselines),
        caption=table_caption(frontier, measures=measures),
    )


def measured_columns(frontier: Frontier) -> list[Objective]:
    """Return the objectives, then the less biased estimates of each binned calibration error, if they were computed."""
    columns = list(frontier.objectives)
    for objective in frontier.objectives:
        if formatting.is_binned(objective.metric):
            for metric in _LESS_BIASED:
                extra = objective.model_copy(update={"metric": metric, "direction": "minimize"})
                is_computed = any(p.estimate(extra).value is not None for p in frontier.complete_points)
                if is_computed and extra not in columns:
                    columns.append(extra)
    return columns


def table_caption(frontier: Frontier, marks_only: bool = False, measures: Sequence[Objective] = ()) -> str:
    """Return how to read the table.

    Args:
        frontier: the sweep.
        marks_only: whether the table has columns for neither the superiority test nor the items chosen on.
        measures: the metrics that are asked for, if it is a table of these; it has no column of the items chosen on.
    """
    counts = {o.name: formatting.item_counts(frontier, o) for o in measures or frontier.objectives}
    sizes = {n for n in counts.values() if n}
    if len(sizes) == 1 and all(counts.values()):
        items = f"{sizes.pop():,} items of the held-out split"
    else:
        listed = "; ".join(f"{name}: n = {n:,}" for name, n in counts.items() if n)
        items = f"the held-out split{f' ({listed})' if listed else ''}"
    level, alpha = formatting.percent(frontier.level), formatting.percent(1 - frontier.level)
    objectives = f" of {formatting.listed([o.name for o in frontier.objectives])}" if measures else ""
    parts = [f"● on the Pareto frontier{objectives}"]
    if any(p.frontier_probability is not None for p in frontier.points):
        parts.append("% = share of resamples in which it is")
    parts.append("★ chosen")
    better = f"better than {every_parent(frontier)} in every objective ({alpha} level, over all points)"
    tests = [p.superiority for p in frontier.points if p.superiority is not None and not marks_only]
    if any(test.shown for test in tests):
        parts.append(f"superior ✓ = {better}")
    if frontier.selection is not None and not marks_only and not measures:
        items_chosen_on = formatting.chosen_on(frontier).removeprefix("the ").removesuffix(" split")
        parts.append(f"{items_chosen_on}: what the choice is made on")
    caption = f"Measured on {items}, with {level} bootstrap intervals. {'; '.join(parts)}."
    if tests and not any(test.shown for test in tests):
        caption += f" No point is shown to be {better}."
    if frontier.baselines:
        caption += f" Baselines: {_baseline_kinds(frontier)}."
    if frontier.served:
        caption += " As served: the written model and its parents, loaded as they will be served and scored once."
    return caption


_KINDS = {
    "temperature": "T is a temperature fitted on each task's selection split",
    "average": "averaged probabilities run two models for each answer",
    "blend": "blended log-probabilities, with λ chosen on the selection split, run two unless λ is 0 or 1",
}


def _baseline_kinds(frontier: Frontier) -> str:
    """Return what the kinds of baselines are, and how many models they run."""
    kinds = {baseline.kind for baseline in frontier.baselines}
    parts = [text for kind, text in _KINDS.items() if kind in kinds]
    if any(not b.uses_labels for b in frontier.baselines):
        parts.insert(1, "T* is one fitted without labels, where the parents agree")
    return "; ".join(parts)


def _outcome(frontier: Frontier, point: PointResult) -> str:
    if point.status == "complete":
        return ""
    return f"{point.status}: {formatting.failure_reason(frontier, point)}"


def _label(point: PointResult) -> str:
    label = formatting.name_with_role(point)
    return f"{label}, same weights as {point_name(point.same_as)}" if point.same_as else label


def _cells(estimates: Iterable[Estimate], places: Iterable[int]) -> tuple[tuple[str, str], ...]:
    pairs = zip(estimates, places, strict=False)
    return tuple((formatting.number(e.value, n), formatting.bracketed(e, n)) for e, n in pairs)


def _frontier(point: PointResult) -> str:
    mark = "●" if formatting.is_on_frontier(point) else ""
    share = point.frontier_probability
    return mark if share is None else f"{mark} {formatting.percent(round(share, 2))}".strip()


def _title(frontier: Frontier, column: Objective) -> str:
    bins = f" ({frontier.n_bins} bins)" if formatting.is_binned(column.metric) else ""
    return f"{column.name} {formatting.arrow(column)}".rstrip() + bins
