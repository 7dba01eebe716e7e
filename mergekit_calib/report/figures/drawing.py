"""The drawing code that all pictures share: style, colour-blind-safe colours, axis labels, label placement."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from numpy.typing import NDArray

from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.safe_text import cut, printable
from mergekit_calib.results.frontier import AxisValue, Objective

STYLE = Path(__file__).with_name("calib.mplstyle")

OVER, UNDER = "#E69F00", "#56B4E9"  # of Okabe and Ito's palette
INK, FAINT = "#222222", "#9a9a9a"
_LEAST_LED = 17.0  # points from a mark, from which a line leads from it to its label
_LONGEST_LINE = 160  # characters of a text in a picture
_LEGEND_ROOM = 0.8  # inches of a figure's height that a legend may take
DASHED, DOTTED = (0, (4, 2)), (0, (1, 1.2))
_UNDATED: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


@contextmanager
def style() -> Iterator[None]:
    """Apply the pictures' style within the `with` block; figures are made and rendered in it."""
    with mpl.rc_context(fname=STYLE), warnings.catch_warnings():
        # Characters that the font lacks are drawn as boxes, without a warning for each.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        yield


def colours() -> Colormap:
    """Return viridis without its last tenth, which is invisible on white."""
    return ListedColormap(mpl.colormaps["viridis"](np.linspace(0.0, 0.9, 256)), name="viridis-on-white")


def render(figure: Figure, file_format: str = "png") -> bytes:
    """Return the contents of a figure's file; the same figure gives the same bytes.

    Its texts are made printable, and lines that would make the picture huge are cut.
    """
    buffer = io.BytesIO()
    with style():
        for text in figure.findobj(Text):
            safe = "\n".join(cut(line, _LONGEST_LINE) for line in printable(text.get_text()).split("\n"))
            if safe != text.get_text():
                text.set_text(safe)
        figure.savefig(buffer, format=file_format, metadata=_UNDATED.get(file_format))
    return buffer.getvalue()


def shortened(name: str, longest: int) -> str:
    """Return the last part of a path or Hub name, cut to `longest` characters."""
    name = name.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def objective_label(objective: Objective, n_bins: int, lines: int = 1) -> str:
    """Return an objective's name as an axis label that says which direction is better.

    Args:
        objective: what is drawn along the axis.
        n_bins: the bins of binned metrics.
        lines: 1, or 2 to put the direction under the name on a short axis.
    """
    bins = f", {n_bins} bins" if formatting.is_binned(objective.metric) else ""
    longest = 40 if lines == 1 else 22
    name = objective.name if len(objective.name) <= longest else f"…{objective.name[1 - longest :]}"
    if not formatting.arrow(objective):
        return f"{name}{bins}"
    up = objective.direction == "maximize"
    if lines == 2:
        return f"{name}{bins}\n({'better →' if up else '← better'})"
    return f"{name}{bins}  (better →)" if up else f"(← better)  {name}{bins}"


def axis_positions(values: Sequence[AxisValue]) -> tuple[NDArray[np.float64], list[str] | None]:
    """Return the positions of an axis's values: numbers as they are, words in order of appearance.

    Args:
        values: (n,) numbers or words.

    Returns:
        The (n,) positions, and the tick labels of positions 0, 1, … if the values are words.
    """
    if all(isinstance(v, (int, float)) for v in values):
        return np.array(values, dtype=np.float64), None
    names = list(dict.fromkeys(map(str, values)))
    return np.array([float(names.index(str(v))) for v in values]), names


@dataclass(frozen=True)
class Label:
    """A text to put near a mark.

    Attributes:
        x, y: where the mark is, in data coordinates.
        text: the text.
        optional: whether it is left out if there is no room.
        colour, weight, size: how it looks; the size is in points.
    """

    x: float
    y: float
    text: str
    optional: bool = False
    colour: str = INK
    weight: str = "normal"
    size: float = 6.5


def legend(figure: Figure, handles: Sequence[Artist], most_columns: int = 4) -> None:
    """Put a legend under the figure, in as many columns as fit into its width; for a tall one the figure grows.

    Args:
        figure: the figure.
        handles: the entries.
        most_columns: the most columns.
    """
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    for columns in range(min(most_columns, len(handles)), 0, -1):
        made = figure.legend(
            handles=handles, loc="outside lower center", ncols=columns, handlelength=1.4, columnspacing=1.2
        )
        box = made.get_tightbbox(renderer)
        if columns > 1 and box is not None and box.width > figure.bbox.width:
            made.remove()
            continue
        if box is not None:
            figure.set_figheight(figure.get_figheight() + max(0.0, box.height / figure.dpi - _LEGEND_ROOM))
        return


def place_labels(axes: Axes, labels: Sequence[Label], obstacles: NDArray[np.float64]) -> None:
    """Put each label where it covers the least of marks, lines, other labels and the frame.

    Args:
        axes: the panel, in which everything else is already drawn.
        labels: what to place, the most important first.
        obstacles: (n, 2) data coordinates of the marks to keep clear of. Lines are taken from `axes`.
    """
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    renderer, scale = canvas.get_renderer(), figure.dpi / 72  # type: ignore[no-untyped-call]
    frame = axes.get_window_extent(renderer)
    marks = axes.transData.transform(obstacles) if len(obstacles) else np.empty((0, 2))
    strokes = _stroke_samples(axes, step=3.0 * scale)
    taken: list[tuple[float, float, float, float]] = []
    for label in labels:
        text = axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            color=label.colour,
            fontsize=label.size,
            fontweight=label.weight,
            zorder=6,
            path_effects=[withStroke(linewidth=1.8, foreground="white")],
            arrowprops={"arrowstyle": "-", "color": label.colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 4},
        )
        text.set_in_layout(False)
        extent = text.get_window_extent(renderer)
        width, height = extent.width, extent.height
        anchor = axes.transData.transform((label.x, label.y))
        # Optional labels keep more distance: near another point's mark, a value would be read as that point's.
        clearance = (5.0 if label.optional else 2.5) * scale
        best: tuple[float, float, float, float] | None = None
        for reach in (7.0, 10.0) if label.optional else (7.0, 11.0, 17.0, 26.0, 40.0, 60.0):
            for angle in np.deg2rad(np.arange(0, 360, 22.5)):
                dx = np.cos(angle) * (reach * scale + width / 2)
                dy = np.sin(angle) * (reach * scale + height / 2)
                x, y = anchor[0] + dx, anchor[1] + dy
                box = (x - width / 2 - 2, y - height / 2 - 2, x + width / 2 + 2, y + height / 2 + 2)
                cost = _overlap(box, marks, strokes, taken, clearance) + reach / 60
                if reach >= _LEAST_LED:
                    leader = np.linspace(anchor, (x, y), 20)
                    cost += sum(bool(_inside(leader, other, 0.0)) for other in taken)
                if box[0] < frame.x0 or box[1] < frame.y0 or box[2] > frame.x1 or box[3] > frame.y1:
                    cost += 50.0
                if best is None or cost < best[0]:
                    best = (cost, dx, dy, reach)
        assert best is not None
        cost, dx, dy, reach = best
        if label.optional and cost >= 0.8:
            text.remove()
            continue
        text.set_position((dx / scale, dy / scale))
        if reach < _LEAST_LED and text.arrow_patch is not None:
            text.arrow_patch.set_visible(False)
        x, y = anchor[0] + dx, anchor[1] + dy
        taken.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))


def _stroke_samples(axes: Axes, step: float) -> NDArray[np.float64]:
    """Return (n, 2) display coordinates along every line of `axes`, `step` pixels apart."""
    samples = [np.empty((0, 2))]
    for line in axes.lines:
        corners = line.get_transform().transform(line.get_path().vertices)
        corners = corners[np.isfinite(corners).all(axis=1)]
        if len(corners):
            along = np.concatenate([[0.0], np.hypot(*np.diff(corners, axis=0).T).cumsum()])
            at = np.linspace(0.0, along[-1], int(along[-1] / step) + 2)
            samples.append(np.column_stack([np.interp(at, along, corners[:, 0]), np.interp(at, along, corners[:, 1])]))
    return np.concatenate(samples)


def _overlap(
    box: tuple[float, float, float, float],
    marks: NDArray[np.float64],
    strokes: NDArray[np.float64],
    taken: Sequence[tuple[float, float, float, float]],
    clearance: float,
) -> float:
    """Return how much a label would cover: 1 for each mark, 10 for each label, and 0.06 for each sample of a line."""
    labels = sum(box[0] < t[2] and t[0] < box[2] and box[1] < t[3] and t[1] < box[3] for t in taken)
    return _inside(marks, box, clearance) + 0.06 * _inside(strokes, box, 0.0) + 10.0 * labels


def _inside(places: NDArray[np.float64], box: tuple[float, float, float, float], margin: float) -> int:
    """Return how many of the (n, 2) places are in a box, or within a margin of it."""
    low, high = np.array(box[:2]) - margin, np.array(box[2:]) + margin
    return int(((places > low) & (places < high)).all(axis=1).sum())
