"""The picture of a comparison: accuracy against ECE as measured, and relative to each sweep's parents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from mergekit_calib.report.figures import drawing
from mergekit_calib.report.figures.predicted_line import predicted_in_plane
from mergekit_calib.report.tables.comparison import Compared
from mergekit_calib.report.text import formatting
from mergekit_calib.results.frontier import PointResult

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222")
_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.5, 1.5)))


def comparison_figure(sweeps: Sequence[Compared]) -> Figure:
    """Draw sweeps as measured (left), and relative to the best and the worst of their parents (right).

    A sweep is a line through its points in the order of its first axis, the predicted one where there is one; its
    base model is a square, its other parents are diamonds, and its choice has a ring. On the right, 0 % is the ECE
    of the worst parent and 100 % that of the best; a sweep whose parents do not differ, as one of a single parent,
    is not drawn there. The figure is as wide as a page of text (6.9 inches).

    Args:
        sweeps: the sweeps to compare.
    """
    with drawing.style():
        figure = Figure(figsize=(6.9, 3.0))
        measured, gained = figure.subplots(1, 2)
        for i, sweep in enumerate(sweeps):
            _draw(measured, gained, sweep, _COLOURS[i % len(_COLOURS)], _DASHES[i // len(_COLOURS) % len(_DASHES)])
        measured.set_xlabel("(← better)  ECE")
        measured.set_ylabel("accuracy  (better →)")
        measured.set_title("as measured")
        gained.axhline(0.0, color=drawing.FAINT, linewidth=0.7, zorder=1)
        gained.axvline(0.0, color=drawing.FAINT, linewidth=0.7, zorder=1)
        gained.set_xlabel("ECE, from the worst parent's to the best's  (better →)")
        gained.set_ylabel("accuracy over the best parent  (better →)")
        gained.set_title("relative to the parents")
        gained.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        handles = [
            Line2D(
                [],
                [],
                color=_COLOURS[i % len(_COLOURS)],
                linestyle=_DASHES[i // len(_COLOURS) % len(_DASHES)],
                marker="o",
                markersize=2.8,
                label=_label(sweep),
            )
            for i, sweep in enumerate(sweeps)
        ]
        ink: dict[str, Any] = {"color": drawing.INK, "linestyle": ""}
        handles += [
            Line2D([], [], marker="s", markersize=3.5, label="base", **ink),
            Line2D([], [], marker="D", markersize=3.5, label="aligned or another parent", **ink),
            Line2D([], [], marker="o", markersize=6, fillstyle="none", label="chosen", **ink),
        ]
        drawing.legend(figure, handles, most_columns=6)
    return figure


def _draw(measured: Axes, gained: Axes, sweep: Compared, colour: str, dashes: Any) -> None:
    points = [
        p
        for p in sorted(sweep.frontier.complete_points, key=formatting.point_order)
        if p.estimate(sweep.accuracy).value is not None and p.estimate(sweep.calibration).value is not None
    ]
    places = np.array([(p.estimate(sweep.calibration).value, p.estimate(sweep.accuracy).value) for p in points], float)
    places = places.reshape(-1, 2)
    of_parents = places[[p in sweep.parents.values() for p in points]]
    predicted = predicted_in_plane(sweep.frontier, sweep.calibration, sweep.accuracy)
    line = places[:0] if predicted is None else predicted.T
    if len(sweep.frontier.axes) == 1 and sweep.frontier.predicted is None:
        line = places[[bool(p.axes) for p in points]]
    for axes, at, along in (
        (measured, places, line),
        (gained, _relative(places, of_parents), _relative(line, of_parents)),
    ):
        axes.plot(along[:, 0], along[:, 1], color=colour, linestyle=dashes, linewidth=1.0, zorder=2)
        for point, (x, y) in zip(points, at, strict=True):
            _mark(axes, point, x, y, colour)


def _label(sweep: Compared) -> str:
    is_predicted = predicted_in_plane(sweep.frontier, sweep.calibration, sweep.accuracy) is not None
    return f"{drawing.shortened(sweep.label, 40)}{' (line: predicted)' if is_predicted else ''}"


def _relative(places: NDArray[np.float64], of_parents: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return places (ECE, accuracy) relative to those of the parents; not a number if these do not differ in ECE."""
    if not len(of_parents):
        return np.full_like(places, np.nan)
    (best, _), (worst, accurate) = of_parents.min(axis=0), of_parents.max(axis=0)
    shares = (worst - places[:, 0]) / (worst - best) if worst > best else np.full(len(places), np.nan)
    return np.column_stack([shares, places[:, 1] - accurate])


def _mark(axes: Axes, point: PointResult, x: float, y: float, colour: str) -> None:
    marker = "o" if point.role is None else "s" if point.role == "base" else "D"
    faint = point.role is None and bool(point.dominated_by.get("held_out")) and not point.selected
    size = 22 if point.role else 8 if faint else 14
    axes.scatter(
        x,
        y,
        marker=marker,
        s=size,
        color=colour,
        alpha=0.4 if faint else 1.0,
        edgecolors="white",
        linewidths=0.4,
        zorder=3,
    )
    if point.selected:
        axes.scatter(x, y, s=60, facecolors="none", edgecolors=colour, linewidths=1.1, zorder=4)
