"""The picture of each objective along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import ColorType

from mergekit_calib.report.figures import drawing
from mergekit_calib.report.figures.baseline_marks import blend_key, draw_blend_along
from mergekit_calib.report.figures.parent_looks import heading, parent_looks
from mergekit_calib.report.figures.predicted_line import LINE_STYLE, LINE_WIDTH, predicted_along, predicted_key
from mergekit_calib.report.text import formatting
from mergekit_calib.results.findings import Objective
from mergekit_calib.results.frontier import AxisValue, Frontier, PointResult
from mergekit_calib.results.names import axis_name

_MOST_NAMED_LINES = 8
_SHADE = "#f1f1f1"


@dataclass(frozen=True)
class _Line:
    """The points that differ only on the drawn axis.

    Attributes:
        setting: the other axes and their values.
        points: the points, in the order of the drawn axis.
        colour: the line's colour.
        has_band: whether its intervals are drawn, as a band.
    """

    setting: tuple[tuple[str, AxisValue], ...]
    points: tuple[PointResult, ...]
    colour: ColorType
    has_band: bool

    @property
    def name(self) -> str:
        """Return the other axes' settings, as `density = 0.3`."""
        return ", ".join(f"{axis_name(axis)} = {formatting.axis_value(v)}" for axis, v in self.setting)


def axis_figure(frontier: Frontier) -> Figure | None:
    """Draw one panel for each objective, over λ or else the first numeric axis, on the held-out split.

    With several axes, there is one line for each setting of the others, and only the chosen point's has intervals. If
    the strategy predicts what lies between the scored points, these are dots with intervals on the predicted line.

    Returns:
        The figure, or None if no line would have two points.
    """
    axis = _axis_of(frontier)
    if axis is None:
        return None
    lines = _lines(frontier, axis)
    if not any(len(line.points) > 1 for line in lines):
        return None
    with drawing.style():
        rows = len(frontier.objectives)
        figure = Figure(figsize=(3.4, 0.9 + 1.25 * rows))
        panels = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
        blended = [
            _draw_panel(panel, frontier, objective, axis, lines)
            for panel, objective in zip(panels, frontier.objectives, strict=True)
        ]
        panels[0].set_title(heading(frontier))
        panels[-1].set_xlabel(axis_name(axis))
        figure.align_ylabels(list(panels))
        if len(lines) > _MOST_NAMED_LINES and (span := _colour_span(lines)):
            key = ScalarMappable(Normalize(*span), drawing.colours())
            bar = figure.colorbar(key, ax=list(panels), pad=0.015, aspect=40)
            bar.ax.set_title(axis_name(lines[0].setting[0][0])[:12], fontsize=7.5, loc="center")
            bar.ax.spines["outline"].set_visible(False)
        drawing.legend(figure, _legend_entries(frontier, axis, lines, any(blended)))
    return figure


def draw_along_axis(
    panel: Axes, frontier: Frontier, measure: Objective, legend: Literal["panel"] | Figure | None = "panel"
) -> bool:
    """Draw one metric along λ, or else the first numeric axis, into a panel.

    Args:
        panel: where to draw.
        frontier: the sweep, whose points have the metric.
        measure: the metric.
        legend: where the legend stands: in the panel, under a figure, or nowhere.

    Returns:
        Whether there was anything to draw: some line has two points.
    """
    axis = _axis_of(frontier)
    lines = _lines(frontier, axis) if axis is not None else []
    if axis is None or not any(len(line.points) > 1 for line in lines):
        return False
    only = frontier.model_copy(update={"objectives": [measure]})
    blended = _draw_panel(panel, only, measure, axis, lines)
    panel.set_xlabel(axis_name(axis))
    panel.set_ylabel(drawing.objective_label(measure, frontier.n_bins))
    entries = _legend_entries(only, axis, lines, blended)
    if isinstance(legend, Figure):
        drawing.legend(legend, entries)
    elif legend == "panel":
        panel.legend(handles=entries, fontsize="x-small")
    return True


def _axis_of(frontier: Frontier) -> str | None:
    """Return `lambda`, or else the first axis; axes with a single value, or with text, are not considered."""
    values_of = {axis: {p.axes[axis] for p in frontier.complete_points if axis in p.axes} for axis in frontier.axes}
    usable = [a for a, values in values_of.items() if len(values) > 1 and not any(isinstance(v, str) for v in values)]
    return "lambda" if "lambda" in usable else next(iter(usable), None)


def _lines(frontier: Frontier, axis: str) -> list[_Line]:
    """Return the lines in the order of the other axes' values.

    They are coloured by the other axis if there is one and it is numeric, else by their order if they are few. If they
    are many, only the chosen point's line is dark.
    """
    groups: dict[tuple[tuple[str, AxisValue], ...], list[PointResult]] = {}
    for point in sorted((p for p in frontier.complete_points if axis in p.axes), key=lambda p: float(p.axes[axis])):
        groups.setdefault(tuple((k, v) for k, v in point.axes.items() if k != axis), []).append(point)
    settings = sorted(groups, key=lambda setting: [(isinstance(v, str), v) for _, v in setting])
    if len(settings) == 1:
        return [_Line(settings[0], tuple(groups[settings[0]]), "#333333", True)]
    bare = [_Line(s, tuple(groups[s]), drawing.FAINT, any(p.selected for p in groups[s])) for s in settings]
    span = _colour_span(bare)
    lines = []
    for i, line in enumerate(bare):
        colour: ColorType = drawing.INK if line.has_band else "#c4c4c4"
        if span is not None:
            colour = drawing.colours()((float(line.setting[0][1]) - span[0]) / (span[1] - span[0]))
        elif len(bare) <= _MOST_NAMED_LINES:
            colour = drawing.colours()(i / (len(bare) - 1))
        lines.append(_Line(line.setting, line.points, colour, line.has_band))
    return lines


def _colour_span(lines: Sequence[_Line]) -> tuple[float, float] | None:
    """Return the range of the other axis; None unless there is exactly one and its values are different numbers."""
    if any(len(line.setting) != 1 or isinstance(line.setting[0][1], str) for line in lines):
        return None
    values = [float(line.setting[0][1]) for line in lines]
    return (min(values), max(values)) if min(values) < max(values) else None


def _draw_panel(panel: Axes, frontier: Frontier, objective: Objective, axis: str, lines: Sequence[_Line]) -> bool:
    """Draw one objective; return whether a blend of the parents is in it."""
    for line in lines:
        if frontier.predicted is None:
            _draw_line(panel, objective, axis, line)
        else:
            _draw_dots(panel, objective, axis, line)
    if (predicted := predicted_along(frontier, objective, axis)) is not None:
        panel.plot(*predicted, color=lines[0].colour, linewidth=LINE_WIDTH, linestyle=LINE_STYLE, zorder=2.8)
    for role, look in parent_looks(frontier).items():
        parent = next((p for p in frontier.complete_points if p.role == role), None)
        value = parent.estimate(objective).value if parent else None
        if value is not None:
            panel.axhline(value, color=look.colour, linewidth=0.9, linestyle=drawing.DOTTED, zorder=2)
    selected = frontier.selected
    value = selected.estimate(objective).value if selected else None
    if selected is not None and axis in selected.axes and value is not None:
        x = float(selected.axes[axis])
        panel.axvline(x, color=drawing.INK, linewidth=0.8, linestyle=":", zorder=1.8)
        panel.plot(x, value, "o", markersize=7, fillstyle="none", color=drawing.INK, markeredgewidth=1.1, zorder=4)
    xs = [float(p.axes[axis]) for line in lines for p in line.points]
    low, high = min(xs), max(xs)
    blended = draw_blend_along(panel, frontier, objective, axis, (low, high))
    margin = 0.03 * (high - low)
    panel.set_xlim(low - margin, high + margin)
    if axis == "lambda" and high > 1.0:
        panel.axvspan(1.0, high + margin, color=_SHADE, linewidth=0, zorder=0.5)
    panel.set_ylabel(drawing.objective_label(objective, frontier.n_bins, lines=2))
    panel.yaxis.set_major_locator(MaxNLocator(4))
    return blended


def _draw_line(panel: Axes, objective: Objective, axis: str, line: _Line) -> None:
    scored = [p for p in line.points if p.estimate(objective).value is not None]
    estimates = [p.estimate(objective) for p in scored]
    xs = [float(p.axes[axis]) for p in scored]
    panel.plot(
        xs,
        [np.nan if e.value is None else e.value for e in estimates],
        color=line.colour,
        marker="o",
        markersize=2.4 if len(xs) <= 24 else 1.6,
        linewidth=1.1 if line.has_band else 0.8,
        zorder=3 if line.has_band else 2.5,
    )
    if line.has_band and any(e.low is not None for e in estimates):
        low = [np.nan if e.low is None else e.low for e in estimates]
        high = [np.nan if e.high is None else e.high for e in estimates]
        panel.fill_between(xs, low, high, color=line.colour, alpha=0.15, linewidth=0, zorder=1.5)


def _draw_dots(panel: Axes, objective: Objective, axis: str, line: _Line) -> None:
    """Draw scored points alone: a line between them, or a band, would be taken for predicted."""
    for point in line.points:
        x, estimate = float(point.axes[axis]), point.estimate(objective)
        if estimate.value is None:
            continue
        panel.plot(x, estimate.value, "o", color=line.colour, markersize=2.8, zorder=3)
        if estimate.low is not None and estimate.high is not None:
            panel.plot([x, x], [estimate.low, estimate.high], color=line.colour, alpha=0.4, linewidth=0.9, zorder=1.5)


def _legend_entries(frontier: Frontier, axis: str, lines: Sequence[_Line], blended: bool) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = []
    if frontier.predicted is not None:
        handles.append(Line2D([], [], color=lines[0].colour, marker="o", markersize=2.8, linestyle="", label="scored"))
        if any(predicted_along(frontier, objective, axis) is not None for objective in frontier.objectives):
            handles.append(predicted_key(lines[0].colour))
    if 1 < len(lines) <= _MOST_NAMED_LINES:
        handles += [Line2D([], [], color=line.colour, marker="o", markersize=2.4, label=line.name) for line in lines]
    for role, look in parent_looks(frontier).items():
        if any(p.role == role for p in frontier.complete_points):
            handles.append(Line2D([], [], color=look.colour, linewidth=0.9, linestyle=drawing.DOTTED, label=look.name))
    if blended:
        handles.append(blend_key())
    if frontier.selected is not None and axis in frontier.selected.axes:
        ring = Line2D([], [], color=drawing.INK, marker="o", markersize=6, fillstyle="none", linestyle="")
        ring.set_label("chosen")
        handles.append(ring)
    points = [p for line in lines for p in line.points]
    banded = [p for line in lines if line.has_band for p in line.points]
    if any(p.estimate(o).low is not None for p in banded for o in frontier.objectives):
        label = f"{formatting.percent(frontier.level)} interval"
        is_band = frontier.predicted is None
        band, whisker = Patch(color="#444444", alpha=0.15, linewidth=0), Line2D([], [], color="#444444", alpha=0.4)
        handles.append(band if is_band else whisker)
        handles[-1].set_label(label)
    if axis == "lambda" and any(float(p.axes[axis]) > 1.0 for p in points):
        handles.append(Patch(color=_SHADE, label="λ > 1"))
    return handles
