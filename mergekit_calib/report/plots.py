"""The pictures of a frontier: the trade-off, the objectives along an axis, and reliability diagrams."""

from __future__ import annotations

from mergekit_calib.frontier import Frontier
from mergekit_calib.report.drawing import render
from mergekit_calib.report.plot_axis import axis_figure
from mergekit_calib.report.plot_frontier import frontier_figure
from mergekit_calib.report.plot_reliability import reliability_figure

__all__ = ["PICTURES", "axis_figure", "draw_pictures", "frontier_figure", "reliability_figure"]

PICTURES = {
    "frontier.png": frontier_figure,
    "lambda.png": axis_figure,
    "reliability.png": reliability_figure,
}


def draw_pictures(frontier: Frontier) -> dict[str, bytes]:
    """File name → PNG, of every picture that the run has data for."""
    figures = {name: draw(frontier) for name, draw in PICTURES.items()}
    return {name: render(figure) for name, figure in figures.items() if figure is not None}
