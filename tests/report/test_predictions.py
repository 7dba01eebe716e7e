"""A report shows which values were measured and which were predicted, and no prediction as a measurement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes

from helpers.predicted_sweeps import AROUND, DIVERSITY, NODES, predicted_sweep
from helpers.report_comparisons import assert_holds
from helpers.report_factory import make_frontier
from mergekit_calib import Frontier, SweepResult
from mergekit_calib.report.card.model_card import model_card
from mergekit_calib.report.figures.pictures import axis_figure, frontier_figure
from mergekit_calib.report.figures.plot_compare import comparison_figure
from mergekit_calib.report.tables.comparison import compared
from mergekit_calib.report.text.answer import answer_lines
from mergekit_calib.report.text.prediction_texts import prediction
from mergekit_calib.report.text.statements import statements
from mergekit_calib.storage.atomic import write_text_atomic


@pytest.fixture(scope="module")
def known() -> Frontier:
    return predicted_sweep()


@pytest.fixture(scope="module")
def not_known() -> Frontier:
    return predicted_sweep(known=False)


@pytest.fixture(scope="module")
def with_texts() -> Frontier:
    return predicted_sweep(texts=True)


def lines(axes: Axes) -> list[np.ndarray]:
    """Return the (n, 2) places of every line that has a stroke."""
    return [np.asarray(line.get_xydata()) for line in axes.lines if line.get_linestyle() != "None"]


def long_lines(axes: Axes, longer_than: int = 2) -> list[np.ndarray]:
    return [line for line in lines(axes) if len(line) > longer_than]


def key(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_number_of_nodes_and_the_typical_error_of_each_objective_are_said(known: Frontier) -> None:
    errors = known.predicted.typical_errors
    text = prediction(known)
    assert_holds(text, f"{len(NODES)} scored points predict every other λ", f"{errors['ece']:.2f} in ECE")
    assert_holds(text, f"{errors['acc']:.2f} standard errors in accuracy")
    assert text in statements(known)
    assert text in model_card(known)
    assert len(answer_lines(known)) == 4
    assert not any("predict" in line for line in answer_lines(known))


def test_an_objective_that_is_not_predicted_is_named_with_its_error(with_texts: Frontier) -> None:
    assert with_texts.predicted.typical_errors[DIVERSITY.name] > 1
    error = f"{with_texts.predicted.typical_errors[DIVERSITY.name]:.2f} standard errors"
    assert_holds(prediction(with_texts), f"No line is drawn for {DIVERSITY.name}", f"(typical error: {error})")


def test_points_that_do_not_predict_each_other_are_said_to_have_no_line(not_known: Frontier) -> None:
    worst = max(not_known.predicted.typical_errors[name] for name in ("acc", "ece", "brier", "nll"))
    assert_holds(prediction(not_known), "do not predict each other", f"up to {worst:.2f} standard errors")
    assert_holds(prediction(not_known), "went on as the strategy adaptive", "No line is drawn between scored points")
    ended = not_known.predicted.model_copy(update={"went_on": False})
    said = prediction(not_known.model_copy(update={"predicted": ended}))
    assert said == f"The search ended with {len(NODES)} nodes, too few to predict the other points: no line is drawn."


def test_a_strategy_that_predicts_nothing_has_no_sentence() -> None:
    assert prediction(make_frontier()) == ""


def test_along_the_axis_points_are_dots_with_intervals_on_the_predicted_line(known: Frontier) -> None:
    figure = axis_figure(known)
    assert {"scored", "predicted"} <= set(key(figure))
    n_blended = len(known.blends[0].lambdas)
    for panel, objective in zip(figure.axes, known.objectives, strict=True):
        (predicted,) = long_lines(panel, n_blended)
        assert predicted[:, 0].tolist() == known.predicted.values
        assert predicted[:, 1].tolist() == known.predicted.along(objective)
        dots = [tuple(line.get_xydata()[0]) for line in panel.lines if line.get_markersize() == 2.8]
        assert dots == [(p.axes["lambda"], p.estimate(objective).value) for p in by_axis(known)]
        whiskers = [line[:, 1].tolist() for line in lines(panel) if len(line) == 2 and line[0, 0] == line[1, 0]]
        for point in known.points:
            assert [point.estimate(objective).low, point.estimate(objective).high] in whiskers
        assert len(panel.collections) == 0  # no band


def by_axis(frontier: Frontier) -> list:
    return sorted(frontier.points, key=lambda p: p.axes["lambda"])


def test_the_predicted_line_goes_through_the_scored_points(known: Frontier) -> None:
    for objective in known.objectives:
        at = dict(zip(known.predicted.values, known.predicted.along(objective), strict=True))
        for point in (p for p in known.complete_points if "lambda" in p.axes):
            assert at[point.axes["lambda"]] == pytest.approx(point.estimate(objective).value, abs=1e-12)


def test_where_points_do_not_predict_each_other_no_line_joins_them(not_known: Frontier, with_texts: Frontier) -> None:
    n_blended = len(not_known.blends[0].lambdas)
    figure = axis_figure(not_known)
    assert "scored" in key(figure)
    assert "predicted" not in key(figure)
    assert all(len(line) in (2, n_blended) for panel in figure.axes for line in lines(panel))
    assert "predicted" not in key(frontier_figure(not_known))
    steps = [line for line in frontier_figure(not_known).axes[0].lines if len(line.get_xdata()) == len(NODES + AROUND)]
    assert steps == []
    of_texts = axis_figure(with_texts).axes[-1]
    assert long_lines(of_texts) == []


def test_in_the_plane_the_line_is_the_predicted_path(known: Frontier) -> None:
    figure = frontier_figure(known)
    assert "predicted" in key(figure)
    (path,) = long_lines(figure.axes[0], len(known.blends[0].lambdas))
    acc, ece = known.objectives
    assert path.T.tolist() == [known.predicted.along(ece), known.predicted.along(acc)]


def test_a_comparison_draws_the_predicted_path_and_says_so(known: Frontier, tmp_path: Path) -> None:
    grid = make_frontier(name="grid")
    for frontier in (known, grid):
        write_text_atomic(tmp_path / frontier.name / "calibration" / "frontier.json", frontier.model_dump_json())
    figure = comparison_figure(compared([tmp_path / known.name, tmp_path / grid.name]))
    assert [label for label in key(figure) if "predicted" in label] == [f"{known.name} (line: predicted)"]
    measured = figure.axes[0]
    acc, ece = known.objectives
    path, joined = (np.asarray(line.get_xydata()) for line in measured.lines)
    assert path.T.tolist() == [known.predicted.along(ece), known.predicted.along(acc)]
    assert len(joined) == len(grid.points)


def test_predictions_come_as_a_frame_with_one_row_for_each_value(known: Frontier) -> None:
    frame = SweepResult(known).predicted_frame()
    assert not frame.duplicated(["at", "scope", "metric", "split"]).any()
    one = frame[(frame.scope == "suite") & (frame.metric == "ece") & (frame.split == "selection")]
    assert list(one["at"]) == known.predicted.values
    assert list(one.value) == known.predicted.metrics["suite"]["ece"]["selection"]
    assert set(one.typical_error) == {known.predicted.typical_errors["ece"]}
    assert set(frame[frame.scope == "choices"].metric) == set(known.predicted.metrics["choices"])
    points = SweepResult(known).points_frame()
    assert len(points) == len(NODES + AROUND)


def test_without_a_prediction_the_frame_has_the_same_columns_and_no_rows(known: Frontier, not_known: Frontier) -> None:
    columns = list(SweepResult(known).predicted_frame().columns)
    for frontier in (make_frontier(), not_known):
        frame = SweepResult(frontier).predicted_frame()
        assert list(frame.columns) == columns
        assert frame.empty
