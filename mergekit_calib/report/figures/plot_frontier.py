"""The picture of the trade-off: the first objective against the second; colours show the first axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from mergekit_calib.report.figures import drawing
from mergekit_calib.report.figures.baseline_marks import draw_baselines, draw_blend_in_plane
from mergekit_calib.report.figures.parent_looks import heading, parent_looks
from mergekit_calib.report.figures.predicted_line import LINE_STYLE, LINE_WIDTH, predicted_in_plane, predicted_key
from mergekit_calib.report.text import formatting
from mergekit_calib.results.findings import Objective
from mergekit_calib.results.frontier import Frontier, PointResult
from mergekit_calib.results.names import axis_name

_BAND = "#e4ecf2"
_PREDICTED = "#666666"
_MOST_PARENTS_WITH_BARS = 3
_MOST_NAMED = 16  # with at most so many points, every one on the frontier may have a label


def frontier_figure(frontier: Frontier) -> Figure | None:
    """Draw every scored point and baseline, the frontier as a staircase, and the parents and the choice marked.

    All values are of the held-out split. Bars are intervals; the band contains most of the resampled frontiers. A line
    goes through the points along the only axis: where the strategy predicts what lies between them, the predicted one.

    Returns:
        The figure, or None if there are fewer than two objectives, or no point has both.
    """
    with drawing.style():
        figure = Figure()
        return figure if draw_trade_off(figure.add_subplot(), frontier) else None


def draw_trade_off(axes: Axes, frontier: Frontier, in_panel: bool = False) -> bool:
    """Draw the first objective against the second into a panel, and a bar of the first axis's colours beside it.

    Args:
        axes: where to draw.
        frontier: the sweep.
        in_panel: whether the legend stands in the panel, not under the figure.

    Returns:
        Whether there was anything to draw: at least two objectives, and a point with both.
    """
    if len(frontier.objectives) < 2:
        return False
    vertical, horizontal = frontier.objectives[:2]
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    points = [
        p
        for p in sorted(frontier.complete_points, key=formatting.point_order)
        if p.estimate(vertical).value is not None and p.estimate(horizontal).value is not None
    ]
    if not points:
        return False
    with drawing.style():
        places = _places(points, horizontal, vertical)
        predicted = predicted_in_plane(frontier, horizontal, vertical)
        if predicted is not None:
            axes.plot(*predicted, color=_PREDICTED, linewidth=LINE_WIDTH, linestyle=LINE_STYLE, zorder=1.3)
        elif len(frontier.axes) == 1 and frontier.predicted is None:
            on_axis = [i for i, p in enumerate(points) if p.axes]
            axes.plot(
                places[on_axis, 0],
                places[on_axis, 1],
                color="#cccccc",
                linewidth=0.8,
                linestyle=(0, (2, 2)),
                zorder=1.2,
            )
        if formatting.arrow(horizontal) and formatting.arrow(vertical):
            _draw_staircase(axes, places, horizontal, vertical)
        _draw_intervals(axes, points, horizontal, vertical)
        _draw_points(figure, axes, frontier, points, places)
        axes.set_xlabel(drawing.objective_label(horizontal, frontier.n_bins))
        axes.set_ylabel(drawing.objective_label(vertical, frontier.n_bins))
        axes.set_title(heading(frontier))
        baselines, marks = draw_baselines(axes, frontier, horizontal, vertical)
        baselines += draw_blend_in_plane(axes, frontier, horizontal, vertical)
        band = _draw_band(axes, frontier, horizontal, vertical)
        curves = [*([] if predicted is None else [predicted_key(_PREDICTED)]), *baselines]
        entries = _legend_entries(frontier, (vertical, horizontal), band, curves)
        if in_panel:
            axes.legend(handles=entries, fontsize="x-small")
        else:
            drawing.legend(figure, entries)
        drawing.place_labels(axes, _labels(frontier, points, places), np.concatenate([places, marks]))
    return True


def _places(points: Sequence[PointResult], horizontal: Objective, vertical: Objective) -> NDArray[np.float64]:
    return np.array([(p.estimate(horizontal).value, p.estimate(vertical).value) for p in points], dtype=np.float64)


def _draw_staircase(axes: Axes, places: NDArray[np.float64], horizontal: Objective, vertical: Objective) -> None:
    """Draw the frontier of these two objectives; with more objectives it is only a part of the whole frontier."""
    x_sign = 1.0 if horizontal.direction == "minimize" else -1.0
    y_sign = 1.0 if vertical.direction == "minimize" else -1.0
    steps: list[NDArray[np.float64]] = []
    for place in places[np.lexsort((y_sign * places[:, 1], x_sign * places[:, 0]))]:
        if not steps or y_sign * place[1] < y_sign * steps[-1][1]:
            steps.append(place)
    edge = np.array(sorted(steps, key=lambda place: place[0]))
    where: Literal["post", "pre"] = "post" if horizontal.direction == "minimize" else "pre"
    axes.step(edge[:, 0], edge[:, 1], where=where, color=drawing.INK, linewidth=0.9, alpha=0.8, zorder=1.5)


def _draw_band(axes: Axes, frontier: Frontier, horizontal: Objective, vertical: Objective) -> Patch | None:
    """Shade the area between the attainment surfaces of the smallest and the largest share of resamples.

    Returns:
        The band's legend entry, or None if there is no band.
    """
    surfaces = sorted(frontier.uncertainty.attainment, key=lambda a: a.share) if frontier.uncertainty else []
    corners = [np.array(a.points, dtype=np.float64) for a in surfaces if a.points]
    if len(corners) < 2 or len(frontier.objectives) != 2:
        return None
    x_sign = 1.0 if horizontal.direction == "minimize" else -1.0
    y_sign = 1.0 if vertical.direction == "maximize" else -1.0
    outer, inner = (np.column_stack([x_sign * c[:, 1], y_sign * c[:, 0]]) for c in (corners[0], corners[-1]))
    right, bottom = (x_sign * np.array(axes.get_xlim())).max(), (y_sign * np.array(axes.get_ylim())).min()
    edge = max(right, outer[:, 0].max(), inner[:, 0].max())
    xs = np.unique(np.concatenate([outer[:, 0], inner[:, 0], [edge]]))
    floor = min(bottom, inner[:, 1].min())

    def attained(corner: NDArray[np.float64]) -> NDArray[np.float64]:
        reached = np.where(corner[None, :, 0] <= xs[:, None] + 1e-12, corner[None, :, 1], floor)
        best: NDArray[np.float64] = reached.max(axis=1)
        return best

    view = axes.get_xlim(), axes.get_ylim()
    axes.fill_between(
        x_sign * xs,
        y_sign * attained(inner),
        y_sign * attained(outer),
        step="post",
        color=_BAND,
        linewidth=0,
        zorder=0.8,
    )
    axes.set(xlim=view[0], ylim=view[1])
    share = formatting.percent(surfaces[-1].share - surfaces[0].share)
    return Patch(color=_BAND, linewidth=0, label=f"{share} of resampled frontiers")


def _draw_intervals(axes: Axes, points: Sequence[PointResult], horizontal: Objective, vertical: Objective) -> None:
    with_parents = sum(p.role is not None for p in points) <= _MOST_PARENTS_WITH_BARS
    for point in points:
        anchor = point.selected or (point.role is not None and with_parents)
        stands_out = anchor or formatting.is_on_frontier(point)
        if not anchor and (len(points) > 24 or (len(points) > 12 and not stands_out)):
            continue
        x, y = point.estimate(horizontal), point.estimate(vertical)
        assert x.value is not None
        assert y.value is not None
        colour = "#8c8c8c" if stands_out else "#cfcfcf"
        if x.low is not None and x.high is not None:
            axes.plot([x.low, x.high], [y.value, y.value], color=colour, linewidth=0.5, zorder=1.1)
        if y.low is not None and y.high is not None:
            axes.plot([x.value, x.value], [y.low, y.high], color=colour, linewidth=0.5, zorder=1.1)


def _draw_points(
    figure: Figure, axes: Axes, frontier: Frontier, points: Sequence[PointResult], places: NDArray[np.float64]
) -> None:
    axis = next(iter(frontier.axes), None)
    inner = [i for i, p in enumerate(points) if p.role is None and axis in p.axes]
    size = 22 if len(inner) <= 24 else 12
    if inner and axis is not None:
        values, names = drawing.axis_positions([points[i].axes[axis] for i in inner])
        low, high = _colour_range(frontier, axis, values)
        for dominated in (True, False):
            drawn = [k for k, i in enumerate(inner) if bool(points[i].dominated_by.get("held_out")) is dominated]
            axes.scatter(
                places[[inner[k] for k in drawn], 0],
                places[[inner[k] for k in drawn], 1],
                c=values[drawn],
                cmap=drawing.colours(),
                vmin=low,
                vmax=high,
                s=0.6 * size if dominated else size,
                alpha=0.35 if dominated else 1.0,
                edgecolors="none" if dominated else "white",
                linewidths=0.5,
                zorder=2 if dominated else 3,
            )
        bar = figure.colorbar(ScalarMappable(Normalize(low, high), drawing.colours()), ax=axes, pad=0.015, aspect=28)
        bar.ax.spines["outline"].set_visible(False)
        bar.ax.set_title(axis_name(axis)[:12], fontsize=7.5, loc="center")
        if names is not None:
            bar.set_ticks(list(range(len(names))), labels=names)
    looks = parent_looks(frontier)
    for point, (x, y) in zip(points, places, strict=True):
        if point.role is None and axis not in point.axes:
            axes.scatter(x, y, marker="^", s=size, color=drawing.FAINT, edgecolors="white", linewidths=0.5, zorder=3)
        if look := looks.get(point.role or ""):
            axes.scatter(
                x,
                y,
                marker=look.marker,
                s=48 if look.marker == "*" else 26,
                color=look.colour,
                edgecolors="white",
                linewidths=0.6,
                zorder=4,
            )
        if point.selected:
            axes.scatter(x, y, s=75, facecolors="none", edgecolors=drawing.INK, linewidths=1.1, zorder=5)


def _colour_range(frontier: Frontier, axis: str, values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the range of the whole axis: the colour bar also covers parents and points that are not scored yet."""
    on_axis = [*frontier.axes[axis], *(p.axes[axis] for p in frontier.points if axis in p.axes)]
    numbers = [float(v) for v in on_axis if not isinstance(v, str)] or values.tolist()
    low, high = min(numbers), max(numbers)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _labels(frontier: Frontier, points: Sequence[PointResult], places: NDArray[np.float64]) -> list[drawing.Label]:
    """Return the labels: the chosen point and the parents always, points on the frontier if there is room."""
    on_frontier = [(x, p.id) for p, (x, _) in zip(points, places, strict=True) if formatting.is_on_frontier(p)]
    edge = [point_id for _, point_id in sorted(on_frontier)]
    named = edge if len(points) <= _MOST_NAMED else [*edge[:1], *edge[-1:]]
    looks = parent_looks(frontier)
    needed: list[drawing.Label] = []
    optional: list[drawing.Label] = []
    for point, (x, y) in zip(points, places, strict=True):
        value = ", ".join(map(formatting.axis_value, point.axes.values()))
        name = point.name if len(point.name) <= 40 else f"{point.name[:39]}…"
        if point.selected:
            role = f"{looks[point.role].name}, " if point.role in looks else ""
            setting = "" if point.id == point.role else f"\n{name}"
            needed.insert(0, drawing.Label(x, y, f"{role}chosen{setting}", weight="bold"))
        elif look := looks.get(point.role or ""):
            text = look.name if point.id == point.role else f"{look.name} ({name})"
            needed.append(drawing.Label(x, y, text, colour=look.colour))
        elif not value:
            optional.insert(0, drawing.Label(x, y, name, optional=True, colour="#666666", size=6))
        elif len(frontier.axes) == 1 and point.id in named:
            optional.append(drawing.Label(x, y, value, optional=True, colour="#666666", size=6))
    return needed + optional


def _legend_entries(
    frontier: Frontier, objectives: Sequence[Objective], band: Patch | None, curves: Sequence[Line2D]
) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=drawing.INK, linewidth=0.9, label="frontier"),
        Line2D([], [], color=drawing.FAINT, marker="o", linestyle="", alpha=0.5, markersize=3, label="dominated"),
    ]
    if any(p.estimate(objectives[0]).low is not None for p in frontier.complete_points):
        label = f"{formatting.percent(frontier.level)} interval"
        handles.append(Line2D([], [], color="#8c8c8c", linewidth=0.6, label=label))
    handles += [band] if band is not None else []
    handles += curves
    counts = [f"{n:,}" for n in (formatting.item_counts(frontier, o) for o in objectives) if n]
    if counts:
        label = f"held-out split, n = {formatting.listed(list(dict.fromkeys(counts)))}"
        handles.append(Line2D([], [], linestyle="", label=label))
    return handles
