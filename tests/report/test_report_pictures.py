"""Pictures are drawn if a run has data for them, from two points to sixty."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from helpers.report_factory import make_frontier
from mergekit_calib.report.figures.drawing import Label, place_labels, render, style
from mergekit_calib.report.figures.pictures import (
    PICTURES,
    axis_figure,
    draw_pictures,
    frontier_figure,
    reliability_figure,
)
from mergekit_calib.results.frontier import Estimate, Frontier

SIXTY = {"lambda": [round(float(x), 3) for x in np.linspace(0, 2, 59)] + [1.0]}


def sizes(frontier: Frontier) -> dict[str, tuple[int, int]]:
    size_of = {}
    for name, data in draw_pictures(frontier).items():
        image = Image.open(io.BytesIO(data))
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 50, f"{name} is blank"
        size_of[name] = image.size
    return size_of


@pytest.mark.parametrize("axes", [{"lambda": [0.0, 0.3, 0.6, 1.0, 1.3]}, SIXTY], ids=["5 points", "60 points"])
def test_every_picture_opens_and_is_large_enough_for_a_readme(axes: dict[str, list[float]]) -> None:
    size_of = sizes(make_frontier(axes))
    assert set(size_of) == {"frontier.png", "lambda.png", "reliability.png"}
    assert all(width >= 1000 and height >= 700 for width, height in size_of.values())


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"axes": {}}, {"frontier.png", "reliability.png"}),
        ({"objectives": ("acc",)}, {"lambda.png", "reliability.png"}),
        ({"objectives": ("acc", "ece", "brier")}, {"frontier.png", "lambda.png", "reliability.png"}),
        ({"reliability": {}}, {"frontier.png", "lambda.png"}),
        ({"select": None, "finished": False}, {"frontier.png", "lambda.png", "reliability.png"}),
        ({"failed": ("lambda=0", "lambda=1")}, {"frontier.png", "lambda.png", "reliability.png"}),
        ({"points": [], "select": None}, set()),
        ({"axes": {"lambda": [0.4, 0.8], "density": [0.3, 0.6]}}, {"frontier.png", "lambda.png", "reliability.png"}),
        ({"axes": {"lambda": [0.5], "x": [0.1], "y": [1.0]}}, {"frontier.png", "reliability.png"}),
        ({"axes": {"lambda": [0.0, 0.5, 1.0]}}, {"frontier.png", "lambda.png", "reliability.png"}),
    ],
    ids=["no axis", "one objective", "three objectives", "no reliability", "unselected", "parents failed", "no point",
         "two axes", "single settings", "parents on the axis"],
)  # fmt: skip
def test_a_picture_is_drawn_if_there_is_data_for_it(options: dict[str, Any], names: set[str]) -> None:
    frontier = make_frontier(**options)
    assert {name for name, draw in PICTURES.items() if draw(frontier) is not None} == names


def test_many_settings_of_another_axis_have_a_colour_bar_and_few_a_legend() -> None:
    few = axis_figure(make_frontier({"lambda": [0.4, 0.8], "density": [0.3, 0.6]}))
    many = axis_figure(make_frontier({"lambda": [0.4, 0.8], "density": list(np.linspace(0.1, 1, 10))}))
    assert few is not None
    assert many is not None
    assert "density = 0.3" in [t.get_text() for t in few.legends[0].get_texts()]
    assert len(few.axes) == 2
    assert many.axes[-1].get_title() == "density"


def test_extrapolation_is_shaded_only_where_there_is_a_point_beyond_1() -> None:
    def patches(values: list[float]) -> int:
        figure = axis_figure(make_frontier({"lambda": values}))
        assert figure is not None
        return len(figure.axes[0].patches)

    assert patches([0.0, 0.5, 1.0]) == 0
    assert patches([0.0, 0.5, 1.0, 1.5]) == 1


def test_the_staircase_runs_through_the_points_on_the_frontier() -> None:
    frontier = make_frontier({"lambda": [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5]})
    figure = frontier_figure(frontier)
    assert figure is not None
    (stairs,) = [line for line in figure.axes[0].lines if line.get_drawstyle().startswith("steps")]
    acc, ece = frontier.objectives
    expected = {(p.estimate(ece).value, p.estimate(acc).value) for p in frontier.points if p.on_frontier["held_out"]}
    assert set(zip(*stairs.get_data(), strict=True)) == expected


def test_names_with_dollar_signs_are_not_read_as_mathematics() -> None:
    frontier = make_frontier(models={"base": r"org/$\frac$-pt", "aligned": "org/a$b$_<c>"}, method=r"$\nonsense$")
    frontier.points[2].id = r"$\broken{$"
    assert set(draw_pictures(frontier)) == {"frontier.png", "lambda.png", "reliability.png"}


def test_undefined_values_and_missing_intervals_are_left_out() -> None:
    frontier = make_frontier()
    for point in frontier.points:
        point.metrics["suite"]["ece"]["held_out"] = Estimate(value=0.1, n=5)
    frontier.points[1].metrics["suite"]["acc"]["held_out"] = Estimate(value=None)
    assert "frontier.png" in draw_pictures(frontier)


def test_a_chosen_point_shows_the_diagram_of_the_one_with_the_same_weights() -> None:
    frontier = make_frontier(select="lambda=0.6")
    del frontier.reliability["lambda=0.6"]
    figure = reliability_figure(frontier)
    assert figure is not None
    assert len(figure.axes) == 4
    frontier.point("lambda=0.6").same_as = "lambda=0.3"
    figure = reliability_figure(frontier)
    assert figure is not None
    assert len(figure.axes) == 6


def test_drawing_does_not_change_matplotlibs_settings_and_is_repeatable() -> None:
    before = dict(mpl.rcParams)
    first, second = frontier_figure(make_frontier()), frontier_figure(make_frontier())
    assert first is not None
    assert second is not None
    assert render(first) == render(second)
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("axes", [{"lambda": [0.0, 0.3, 0.6, 1.0, 1.3]}, SIXTY], ids=["5 points", "60 points"])
def test_labels_overlap_neither_each_other_nor_the_frame(axes: dict[str, list[float]]) -> None:
    figure = frontier_figure(make_frontier(axes))
    assert figure is not None
    with style():
        figure.canvas.draw()
        panel = figure.axes[0]
        frame = panel.get_window_extent()
        # of the text alone: an annotation's own extent takes in its leader line
        boxes = [mpl.text.Text.get_window_extent(text) for text in panel.texts]
    assert len(boxes) >= 3
    for i, box in enumerate(boxes):
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1
        assert frame.y0 <= box.y0
        assert box.y1 <= frame.y1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_an_optional_label_without_room_is_left_out() -> None:
    with style():
        figure = mpl.figure.Figure()
        panel = figure.add_subplot()
        grid = np.stack(np.meshgrid(np.linspace(0, 1, 40), np.linspace(0, 1, 40)), axis=-1).reshape(-1, 2)
        panel.scatter(grid[:, 0], grid[:, 1])
        place_labels(panel, [Label(0.5, 0.5, "needed"), Label(0.4, 0.4, "optional", optional=True)], grid)
    assert [text.get_text() for text in panel.texts] == ["needed"]


def test_one_value_and_the_parents_on_the_axis_make_a_curve() -> None:
    frontier = make_frontier({"lambda": [0.0, 0.5, 1.0]})
    frontier.axes = {"lambda": [0.5]}
    assert axis_figure(frontier) is not None
