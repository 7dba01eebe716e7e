"""The pictures of a sweep by their file names: trade-off, objectives along an axis, reliability diagrams."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mergekit_calib.report.figures.drawing import render
from mergekit_calib.report.figures.plot_axis import axis_figure
from mergekit_calib.report.figures.plot_frontier import frontier_figure
from mergekit_calib.report.figures.plot_reliability import reliability_figure
from mergekit_calib.results.frontier import Frontier, Objective

__all__ = ["FORMATS", "PICTURES", "axis_figure", "draw_pictures", "frontier_figure", "reliability_figure"]

PICTURES = {
    "frontier.png": frontier_figure,
    "lambda.png": axis_figure,
    "reliability.png": reliability_figure,
}
FORMATS = ("png", "svg")


def of_measures(frontier: Frontier, measures: Sequence[Objective]) -> Frontier:
    """Return a sweep whose pictures show some metrics in place of its objectives.

    The points keep what was said of the objectives, such as which of them are dominated; the band of resampled
    frontiers, which is one of the objectives, is left out unless these are the metrics.
    """
    if not measures or [m.name for m in measures] == [o.name for o in frontier.objectives]:
        return frontier
    return frontier.model_copy(update={"objectives": list(measures), "uncertainty": None})


def draw_pictures(frontier: Frontier, formats: Iterable[str] = ("png",)) -> dict[str, bytes]:
    """Draw every picture that the sweep has data for.

    Args:
        frontier: the sweep.
        formats: file formats, as `png`, `svg` and `pdf`.

    Returns:
        File name → contents.
    """
    drawn: dict[str, bytes] = {}
    for name, draw in PICTURES.items():
        if (figure := draw(frontier)) is not None:
            stem = name.removesuffix(".png")
            drawn |= {f"{stem}.{each}": render(figure, each) for each in formats}
    return drawn
