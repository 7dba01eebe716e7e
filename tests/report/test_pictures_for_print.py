"""Pictures fit a column of a paper: no text overlaps or is cut, text stays text, band and baselines are drawn."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text

from helpers.predicted_sweeps import predicted_sweep
from helpers.report_factory import add_blends, make_frontier
from mergekit_calib.report.figures.drawing import style
from mergekit_calib.report.figures.parent_looks import heading, parent_looks
from mergekit_calib.report.figures.pictures import PICTURES, axis_figure, draw_pictures, frontier_figure
from mergekit_calib.results.frontier import Attainment, Baseline, Estimate, Frontier, FrontierUncertainty

COLUMN = 3.5  # inches
SIXTY = {"lambda": [round(float(x), 3) for x in np.linspace(0, 2, 61)]}
EIGHT = ("base", "instruct", "math-7b", "a-coder-with-a-very-long-name", "roleplay", "medical", "de", "fr")
LONG = "organisation/a-model-with-a-very-long-name-indeed-7b-instruct"


def with_band_and_baselines(frontier: Frontier) -> Frontier:
    """Add baselines near the frontier, where it is crowded, and a band around it."""
    acc, ece = frontier.objectives[:2]
    edge = sorted(
        ((p.estimate(ece).value, p.estimate(acc).value) for p in frontier.points if p.on_frontier.get("held_out")),
    )

    def shifted(by: float) -> list[list[float]]:
        return [[y - by, x + by] for x, y in edge if x is not None and y is not None]

    def baseline(name: str, kind: Any, of: list[str], x: float, y: float) -> Baseline:
        metrics = {"suite": {"acc": {"held_out": Estimate(value=y)}, "ece": {"held_out": Estimate(value=x)}}}
        return Baseline(id=name, kind=kind, of=of, temperatures={"calib_demo": 1.83}, metrics=metrics)

    x, y = edge[0]
    frontier.baselines = [
        baseline("aligned+T", "temperature", ["lambda=1"], x + 0.004, y - 0.01),
        baseline("base&aligned", "average", ["lambda=0", "lambda=1"], x + 0.008, y),
        baseline("lambda=0.6+T", "temperature", ["lambda=0.6"], x + 0.002, y + 0.003),
    ]
    frontier.uncertainty = FrontierUncertainty(
        reference={"acc": 0.5, "ece": 0.2},
        hypervolume=Estimate(value=0.01),
        of_parents=Estimate(value=0.001),
        attainment=[
            Attainment(share=0.025, points=shifted(-0.01)),
            Attainment(share=0.5, points=shifted(0.0)),
            Attainment(share=0.975, points=shifted(0.02)),
        ],
    )
    return frontier


CASES = {
    "5 points": lambda: with_band_and_baselines(make_frontier()),
    "16 points": lambda: with_band_and_baselines(make_frontier({"lambda": [i / 10 for i in range(16)]})),
    "60 points": lambda: with_band_and_baselines(make_frontier(SIXTY)),
    "two axes": lambda: make_frontier({"lambda": [0.4, 0.8], "density": [0.3, 0.6, 0.9]}),
    "long names": lambda: make_frontier(models={"base": LONG, "aligned": LONG}, method="breadcrumbs_ties"),
    "one parent": lambda: make_frontier({"layers": [0.2, 0.4, 0.6]}, roles=("base",)),
    "three parents": lambda: add_blends(make_frontier({"weight": [0.3, 0.6], "density": [0.3, 0.7]}, roles=EIGHT[:3])),
    "eight parents": lambda: add_blends(make_frontier({"weight": [0.1, 0.3, 0.5, 0.7, 0.9]}, roles=EIGHT)),
    "blend": lambda: add_blends(make_frontier()),
    "predicted": lambda: with_band_and_baselines(predicted_sweep()),
    "not all predicted": lambda: predicted_sweep(texts=True),
    "three objectives": lambda: make_frontier(objectives=("acc", "ece", "brier")),
}


def texts(figure: Figure) -> list[tuple[str, Any]]:
    """Return every visible text and its bounding box."""
    with style():
        figure.canvas.draw()
        shown = []
        for text in figure.findobj(Text):
            if isinstance(text, Text) and text.get_visible() and text.get_text().strip():
                box = Text.get_window_extent(text)  # an annotation's own takes in its leader line
                shown.append((text.get_text(), box))
        ticks = {id(t) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for t in _unseen(axis)}
        return [(t, b) for (t, b), o in zip(shown, _seen(figure), strict=True) if id(o) not in ticks]


def _seen(figure: Figure) -> list[Text]:
    return [t for t in figure.findobj(Text) if isinstance(t, Text) and t.get_visible() and t.get_text().strip()]


def _unseen(axis: Any) -> list[Text]:
    """Return the labels of ticks that are outside the view or switched off."""
    low, high = sorted(axis.get_view_interval())
    margin = 1e-9 * (high - low)
    labels = []
    for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
        outside = not low - margin <= tick.get_loc() <= high + margin
        labels += [tick.label1] if outside or not tick.label1.get_visible() else []
        labels += [tick.label2] if outside or not tick.label2.get_visible() else []
    return labels


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", PICTURES)
def test_no_text_overlaps_another_or_leaves_the_picture(case: str, name: str) -> None:
    figure = PICTURES[name](CASES[case]())
    assert figure is not None
    assert figure.get_figwidth() <= COLUMN
    boxes = texts(figure)
    width, height = figure.bbox.width, figure.bbox.height
    for i, (text, box) in enumerate(boxes):
        assert box.x0 >= -1, text
        assert box.x1 <= width + 1, text
        assert box.y0 >= -1, text
        assert box.y1 <= height + 1, text
        for other, theirs in boxes[:i]:
            across = min(box.x1, theirs.x1) - max(box.x0, theirs.x0)
            along = min(box.y1, theirs.y1) - max(box.y0, theirs.y0)
            assert across <= 1 or along <= 1, (text, other)


def test_type_is_large_enough_to_read_in_print() -> None:
    for draw in PICTURES.values():
        figure = draw(with_band_and_baselines(make_frontier()))
        assert figure is not None
        assert min(text.get_fontsize() for text in _seen(figure)) >= 6


def test_with_many_points_only_parents_choice_and_the_ends_of_the_frontier_are_labelled() -> None:
    frontier = make_frontier(SIXTY)
    figure = frontier_figure(frontier)
    assert figure is not None
    named = [text.get_text() for text in figure.axes[0].texts]
    ece = frontier.objectives[1]
    edge = sorted(
        (p.estimate(ece).value, f"{p.axes['lambda']:g}") for p in frontier.points if p.on_frontier["held_out"]
    )
    assert {name for name in named if name[0].isdigit()} <= {edge[0][1], edge[-1][1]}
    assert any(name.startswith("chosen") for name in named)
    assert {"base (λ = 0)", "aligned (λ = 1)"} <= set(named)


def test_baselines_and_the_band_are_in_the_picture_and_its_legend() -> None:
    frontier = with_band_and_baselines(make_frontier())
    figure = frontier_figure(frontier)
    assert figure is not None
    key = [text.get_text() for text in figure.legends[0].get_texts()]
    for label in ("aligned, T = 1.83", "parents averaged", "95 % of resampled frontiers", "held-out split, n = 600"):
        assert label in key
    panel = figure.axes[0]
    places = {tuple(np.round(line.get_xydata()[0], 6)) for line in panel.lines if line.get_markerfacecolor() == "white"}
    acc, ece = frontier.objectives
    assert places == {
        (round(b.estimate(ece).value or 0, 6), round(b.estimate(acc).value or 0, 6)) for b in frontier.baselines
    }
    (band,) = [c for c in panel.collections if type(c).__name__ in ("PolyCollection", "FillBetweenPolyCollection")]
    outline = band.get_paths()[0]
    for x, y in [(p.estimate(ece).value, p.estimate(acc).value) for p in frontier.points if p.on_frontier["held_out"]]:
        assert outline.contains_point((x + 1e-6, y))
    assert not outline.contains_point((panel.get_xlim()[1] * 0.9, panel.get_ylim()[0] + 1e-3))
    low, high = panel.get_xlim()
    for point in frontier.points:
        estimate = point.estimate(ece)
        assert low <= (estimate.value or 0) <= high


def test_each_parent_has_a_label_and_a_marker_of_its_own() -> None:
    frontier = make_frontier({"weight": [0.1, 0.5, 0.9]}, roles=EIGHT, select="weight=0.5")
    figure = frontier_figure(frontier)
    assert figure is not None
    named = {text.get_text() for text in figure.axes[0].texts}
    assert {role if len(role) <= 22 else f"{role[:21]}…" for role in EIGHT} <= named
    looks = parent_looks(frontier).values()
    assert len({look.colour for look in looks}) == len({look.marker for look in looks}) == 8


def test_the_blends_curve_is_dashed_and_runs_from_one_parent_through_the_other() -> None:
    frontier = add_blends(make_frontier())
    figure = frontier_figure(frontier)
    assert figure is not None
    (curve,) = [line for line in figure.axes[0].lines if len(line.get_xdata()) == len(frontier.blends[0].lambdas)]
    assert curve.is_dashed()
    acc, ece = frontier.objectives
    base, aligned = (frontier.parent(role) for role in ("base", "aligned"))
    assert base is not None
    assert aligned is not None
    along = curve.get_xydata()
    for point, at in ((base, 0.0), (aligned, 1.0)):
        place = along[frontier.blends[0].lambdas.index(at)]
        assert place == pytest.approx([point.estimate(ece).value, point.estimate(acc).value])
    assert any("runs two models" in text.get_text() for text in figure.legends[0].get_texts())


def test_the_blend_is_drawn_along_the_axis_that_its_parents_span() -> None:
    spanned = axis_figure(add_blends(make_frontier({"lambda": [0.0, 0.5, 1.0]})))
    assert spanned is not None
    (curve,) = [line for line in spanned.axes[0].lines if len(line.get_xdata()) > 3]
    assert (min(curve.get_xdata()), max(curve.get_xdata())) == (0.0, 1.0)
    other = axis_figure(add_blends(make_frontier({"weight": [0.2, 0.5, 0.8]}, roles=EIGHT[:3])))
    assert other is not None
    words = [text.get_text() for figure in (spanned, other) for text in figure.legends[0].get_texts()]
    assert sum("blended" in text for text in words) == 1


def test_dominated_points_are_faint() -> None:
    frontier = make_frontier()
    for point in frontier.points:
        point.dominated_by["held_out"] = ["lambda=0"] if point.id == "lambda=0.6" else []
    figure = frontier_figure(frontier)
    assert figure is not None
    ece = frontier.objectives[1]
    faint = [c for c in figure.axes[0].collections if c.get_alpha() == 0.35]
    assert [x for c in faint for x in np.asarray(c.get_offsets())[:, 0]] == [
        frontier.point("lambda=0.6").estimate(ece).value
    ]


@pytest.mark.parametrize(
    ("models", "title"),
    [
        ({"base": "org/a", "aligned": "org/b"}, "a → b  ·  linear"),
        ({"a": "org/a", "b": "org/b"}, "a + b  ·  linear"),
        ({"base": "org/a"}, "a  ·  linear"),
        ({role: f"org/{role}" for role in EIGHT}, "base + instruct + math-7b + 5 more\nlinear"),
    ],
)
def test_only_base_and_aligned_have_an_arrow_between_them(models: dict[str, str], title: str) -> None:
    assert heading(make_frontier(models=models)) == title


def test_without_resamples_there_is_no_band() -> None:
    figure = frontier_figure(make_frontier())
    assert figure is not None
    assert not [h for h in figure.legends[0].legend_handles if isinstance(h, Patch)]


def test_vector_pictures_contain_text_as_text_and_are_repeatable() -> None:
    first = draw_pictures(make_frontier(), ("svg",))
    assert set(first) == {"frontier.svg", "lambda.svg", "reliability.svg"}
    assert first == draw_pictures(make_frontier(), ("svg",))
    words = re.findall(r"<text[^>]*>([^<]+)</text>", first["frontier.svg"].decode())
    assert "frontier" in words
    assert any("(better →)" in word for word in words)
    assert not re.search(r'<script|href="(?!data:|#)', first["frontier.svg"].decode())
