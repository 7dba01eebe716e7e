"""The picture of the reliability diagrams: accuracy against confidence, and a histogram of confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from mergekit_calib.report.figures import drawing
from mergekit_calib.report.text import formatting
from mergekit_calib.results.frontier import SUITE, Frontier, PointResult, Reliability

_ACCURACY = "#8fa3b3"
_MOST_COLUMNS = 3
_FEW = 20  # bins with fewer items are pale


def reliability_figure(frontier: Frontier) -> Figure | None:
    """Draw the diagrams of the parents and the chosen point, on the held-out split of all multiple-choice items.

    The upper panels show the accuracy in each bin of confidence and its gap to the diagonal, where confidence equals
    accuracy; the lower panels show the share of items in each bin.

    Returns:
        The figure, or None if no such point has a diagram.
    """
    shown = [(p, d) for p in _points(frontier) if (d := _diagram(frontier, p)) is not None and any(d.counts)]
    return diagrams_figure([(_title(point), diagram) for point, diagram in shown]) if shown else None


def diagrams_figure(shown: Sequence[tuple[str, Reliability]]) -> Figure:
    """Draw diagrams side by side, at most three in a row.

    Args:
        shown: each diagram with its title; at least one.
    """
    with drawing.style():
        columns = 2 if len(shown) == 4 else min(len(shown), _MOST_COLUMNS)
        rows = -(-len(shown) // columns)
        figure = Figure(figsize=(3.4, 3.3 if len(shown) == 1 else 0.5 + 2.3 * rows))
        panels = figure.subplots(
            2 * rows, columns, sharex=True, sharey="row", squeeze=False, gridspec_kw={"height_ratios": (3, 1) * rows}
        )
        for i, (above, below) in enumerate(zip(panels[::2].flat, panels[1::2].flat, strict=True)):
            if i >= len(shown):
                above.set_visible(False)
                below.set_visible(False)
                continue
            title, diagram = shown[i]
            _draw_diagram(above, diagram)
            _draw_histogram(below, diagram)
            above.set_title(title, fontsize=6.5)
            if i % columns == 0:
                above.set_ylabel("accuracy")
                below.set_ylabel("items")
                below.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            if i + columns >= len(shown):
                below.set_xlabel("confidence")
                below.tick_params(labelbottom=True)
        drawing.legend(figure, _legend_entries([diagram for _, diagram in shown]))
    return figure


def draw_reliability(panel: Axes, frontier: Frontier, point: PointResult) -> bool:
    """Draw one point's diagram, without its histogram, into a panel; return whether the point has one."""
    diagram = _diagram(frontier, point)
    if diagram is None or not any(diagram.counts):
        return False
    with drawing.style():
        _draw_diagram(panel, diagram)
        panel.set(xlabel="confidence", ylabel="accuracy")
        panel.set_title(_title(point))
        panel.legend(handles=_legend_entries([diagram]), fontsize="x-small")
    return True


def _points(frontier: Frontier) -> list[PointResult]:
    shown = [*frontier.parents, frontier.selected]
    points = [p for p in shown if p is not None and p.status == "complete"]
    return list({p.id: p for p in points}.values())


def _diagram(frontier: Frontier, point: PointResult) -> Reliability | None:
    """Return a point's diagram, or that of the earlier point with identical weights."""
    return frontier.reliability.get(point.id) or frontier.reliability.get(point.same_as or "")


def _legend_entries(diagrams: Sequence[Reliability]) -> list[Patch]:
    handles = [
        Patch(facecolor=_ACCURACY, label="accuracy"),
        Patch(facecolor=drawing.OVER, label="overconfident by"),
        Patch(facecolor=drawing.UNDER, label="underconfident by"),
    ]
    if any(0 < count < _FEW for diagram in diagrams for count in diagram.counts):
        handles.append(Patch(facecolor=_ACCURACY, alpha=0.35, label=f"pale: under {_FEW} items"))
    return handles


def _draw_diagram(panel: Axes, diagram: Reliability) -> None:
    """Draw accuracy as grey bars, and its gap to the bin's mean confidence as a coloured end of the bar."""
    rows = zip(diagram.edges, diagram.edges[1:], diagram.counts, diagram.accuracy, diagram.confidence, strict=False)
    for left, right, count, accuracy, confidence in rows:
        if accuracy is None or confidence is None:
            continue
        alpha = 0.35 if count < _FEW else 1.0
        look: dict[str, Any] = {
            "width": right - left,
            "align": "edge",
            "edgecolor": "white",
            "linewidth": 0.4,
            "alpha": alpha,
        }
        gap = drawing.OVER if confidence > accuracy else drawing.UNDER
        lower = min(accuracy, confidence)
        panel.bar(left, lower, color=_ACCURACY, zorder=2, **look)
        panel.bar(left, abs(confidence - accuracy), bottom=lower, color=gap, zorder=2, **look)
    panel.plot([0, 1], [0, 1], color=drawing.INK, linewidth=0.9, linestyle=(0, (4, 2)), zorder=3)
    panel.set(xlim=(0, 1), ylim=(0, 1))


def _draw_histogram(panel: Axes, diagram: Reliability) -> None:
    edges, counts = np.array(diagram.edges), np.array(diagram.counts, dtype=np.float64)
    panel.bar(
        edges[:-1],
        counts / counts.sum(),
        np.diff(edges),
        align="edge",
        color="#5b6770",
        edgecolor="white",
        linewidth=0.4,
    )
    mean = sum(c * n for c, n in zip(diagram.confidence, diagram.counts, strict=True) if c is not None) / counts.sum()
    panel.axvline(mean, color=drawing.INK, linewidth=0.9, linestyle=":")


def _title(point: PointResult) -> str:
    role = point.role or ""
    name = f"{role}, chosen" if role and point.selected else role or "chosen"
    first = name if role else f"{name}: {point.name}"
    first = first if len(first) <= 17 else f"{first[:16]}…"
    ece = point.metrics.get(SUITE, {}).get("ece", {}).get("held_out")
    acc = point.metrics.get(SUITE, {}).get("acc", {}).get("held_out")
    numbers = [
        f"{label} {formatting.number(e.value)}"
        for label, e in (("acc", acc), ("ECE", ece))
        if e and e.value is not None
    ]
    return "\n".join([first, *numbers])
