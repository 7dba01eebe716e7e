"""The predicted values of a sweep in pictures: a thin line without marks."""

from __future__ import annotations

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.typing import ColorType, LineStyleType
from numpy.typing import NDArray

from mergekit_calib.results.findings import Objective
from mergekit_calib.results.frontier import Frontier

# Finer than the dashes of blends.
LINE_STYLE: LineStyleType = (0, (2.5, 1.2))
LINE_WIDTH = 0.9


def predicted_along(frontier: Frontier, objective: Objective, axis: str) -> NDArray[np.float64] | None:
    """Return the (2, n) values of an axis and those of an objective that are predicted there; None if there are none.

    Args:
        frontier: the sweep.
        objective: what is predicted.
        axis: the axis that it is drawn along.
    """
    curve = frontier.predicted
    values = None if curve is None or curve.axis != axis else curve.along(objective)
    if curve is None or values is None:
        return None
    return np.array([curve.values, [np.nan if v is None else v for v in values]])


def predicted_in_plane(frontier: Frontier, horizontal: Objective, vertical: Objective) -> NDArray[np.float64] | None:
    """Return the (2, n) predicted values of two objectives, along the axis; None unless both are predicted."""
    if frontier.predicted is None:
        return None
    both = [predicted_along(frontier, objective, frontier.predicted.axis) for objective in (horizontal, vertical)]
    return None if both[0] is None or both[1] is None else np.array([both[0][1], both[1][1]])


def predicted_key(colour: ColorType) -> Line2D:
    """Return the legend entry of predicted values."""
    return Line2D([], [], color=colour, linewidth=LINE_WIDTH, linestyle=LINE_STYLE, label="predicted")
