"""Baselines in pictures: marks without a filling, and dashed curves of blended log-probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from mergekit_calib.report.figures import drawing
from mergekit_calib.report.figures.parent_looks import ParentLook, parent_looks
from mergekit_calib.report.text import formatting
from mergekit_calib.results.baseline_findings import Baseline, Blend
from mergekit_calib.results.findings import Objective
from mergekit_calib.results.frontier import Frontier

BLEND = "#7B3294"
_GREY = "#777777"
_LABEL = "parents' log-probabilities blended\n(runs two models)"


def draw_baselines(
    axes: Axes, frontier: Frontier, horizontal: Objective, vertical: Objective
) -> tuple[list[Line2D], NDArray[np.float64]]:
    """Draw the baselines that short tables show.

    Args:
        axes: the panel.
        frontier: the sweep.
        horizontal: the objective along the x axis.
        vertical: the objective along the y axis.

    Returns:
        Their legend entries, and their (n, 2) places.
    """
    keys, places = [], []
    for baseline in frontier.baselines:
        x, y = baseline.estimate(horizontal).value, baseline.estimate(vertical).value
        if x is None or y is None or not baseline.shown:
            continue
        look = _look(frontier, baseline)
        axes.plot(x, y, zorder=3.5, **look)
        name = drawing.shortened(formatting.baseline_name(frontier, baseline), 40)
        keys.append(Line2D([], [], label=name, **look))
        places.append((x, y))
    return keys, np.array(places, dtype=np.float64).reshape(-1, 2)


def draw_blend_in_plane(axes: Axes, frontier: Frontier, horizontal: Objective, vertical: Objective) -> list[Line2D]:
    """Draw the curve of each blend that short tables show; return the legend entry, if there is a curve."""
    drawn = False
    for blend in _shown(frontier):
        xs, ys = _values(blend, horizontal), _values(blend, vertical)
        if xs is None or ys is None:
            continue
        axes.plot(xs, ys, color=BLEND, linewidth=0.9, linestyle=drawing.DASHED, zorder=1.9)
        drawn = True
    return [blend_key()] if drawn else []


def draw_blend_along(
    panel: Axes, frontier: Frontier, objective: Objective, axis: str, ends: tuple[float, float]
) -> bool:
    """Draw the curve of each blend whose parents lie on an axis of the sweep.

    Args:
        panel: where to draw.
        frontier: the sweep.
        objective: what the panel shows.
        axis: the axis of the sweep that the panel is drawn along.
        ends: the values of the axis between which the curve is drawn.

    Returns:
        Whether there is such a blend.
    """
    drawn = False
    for blend in _shown(frontier):
        values, at = _values(blend, objective), _along(frontier, blend, axis)
        if values is None or at is None:
            continue
        inside = (at >= ends[0]) & (at <= ends[1])
        panel.plot(at[inside], values[inside], color=BLEND, linewidth=0.9, linestyle=drawing.DASHED, zorder=2.7)
        drawn = True
    return drawn


def blend_key() -> Line2D:
    """Return the legend entry of blends."""
    return Line2D([], [], color=BLEND, linewidth=0.9, linestyle=drawing.DASHED, label=_LABEL)


def _along(frontier: Frontier, blend: Blend, axis: str) -> NDArray[np.float64] | None:
    """Return where on `axis` the blend's λ lie; None if they lie on another axis, or on none.

    Two parents that are on the axis span it; between the only two parents, the axis λ does so too.
    """
    first, second = (next((p.axes.get(axis) for p in frontier.points if p.id == point), None) for point in blend.of)
    lambdas = np.array(blend.lambdas)
    if isinstance(first, (int, float)) and isinstance(second, (int, float)) and first != second:
        return first + lambdas * (second - first)
    return lambdas if axis == "lambda" and len(frontier.models) == 2 else None


def _values(blend: Blend, objective: Objective) -> NDArray[np.float64] | None:
    values = blend.values.get(objective.name, {}).get("held_out")
    return None if values is None else np.array([np.nan if v is None else v for v in values])


def _shown(frontier: Frontier) -> list[Blend]:
    aside = {tuple(b.of) for b in frontier.baselines if b.kind == "blend" and not b.shown}
    return [blend for blend in frontier.blends if blend.of not in aside]


def _look(frontier: Frontier, baseline: Baseline) -> dict[str, Any]:
    """Return a baseline's marker: its parent's for a temperature, half filled if that was fitted without labels."""
    role = next((p.role for p in frontier.points if [p.id] == baseline.of and p.role), None)
    looks = parent_looks(frontier)
    own = looks.get(role or "", ParentLook("", drawing.INK, "o"))
    marker, colour = {"average": ("P", _GREY), "blend": ("o", BLEND)}.get(baseline.kind, (own.marker, own.colour))
    return {
        "marker": marker,
        "color": colour,
        "markerfacecolor": "white" if baseline.uses_labels else colour,
        "markerfacecoloralt": "white",
        "fillstyle": "full" if baseline.uses_labels else "left",
        "markeredgewidth": 0.9,
        "markersize": 4.5,
        "linestyle": "",
    }
