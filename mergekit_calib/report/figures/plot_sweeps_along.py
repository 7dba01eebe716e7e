"""The picture of several sweeps' metrics along λ: a column of panels for each sweep, a row for each metric."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from mergekit_calib.report.figures import drawing
from mergekit_calib.report.figures.plot_axis import draw_along_axis
from mergekit_calib.report.tables.comparison import Compared

_MOST_SWEEPS = 8


def sweeps_along_figure(sweeps: Sequence[Compared]) -> Figure | None:
    """Draw each metric along λ, or else a sweep's first numeric axis, with intervals, side by side on one scale.

    Args:
        sweeps: the sweeps; the first eight are drawn.

    Returns:
        The figure, or None if no sweep has two points on an axis.
    """
    shown, measures = sweeps[:_MOST_SWEEPS], sweeps[0].measures
    drawn = False
    with drawing.style():
        figure = Figure(figsize=(max(3.4, 2.3 * len(shown)), 1.2 + 1.6 * len(measures)))
        panels = figure.subplots(len(measures), len(shown), sharey="row", squeeze=False)
        for row, measure in zip(panels, measures, strict=True):
            for panel, sweep in zip(row, shown, strict=True):
                own = next((m for m in sweep.measures if m.name == measure.name), measure)
                drawn |= draw_along_axis(panel, sweep.frontier, own, legend=None)
                panel.set_ylabel(drawing.objective_label(measure, sweep.frontier.n_bins, 2) if panel is row[0] else "")
                panel.set_title(drawing.shortened(sweep.label, 28) if row is panels[0] else "")
                if row is not panels[-1]:
                    panel.set_xlabel("")
        if not drawn:
            return None
        draw_along_axis(Figure().add_subplot(), shown[0].frontier, measures[0], legend=figure)
    return figure
