"""The importance of each axis for each objective."""

from __future__ import annotations

import pytest

from helpers.report_factory import make_frontier
from mergekit_calib.analysis.axis_importance import axis_importances
from mergekit_calib.results.findings import Estimate

GRID = {"strong": [0.0, 0.25, 0.5, 0.75, 1.0], "weak": [0.0, 0.5, 1.0], "none": [1, 2]}


def given_values(axes=None):
    """A sweep whose accuracy rises with `strong`, falls a little with `weak`, and does not depend on `none`."""
    frontier = make_frontier(axes or GRID, select=None)
    for point in (p for p in frontier.complete_points if p.axes):
        value = 0.5 + 0.3 * float(point.axes["strong"]) - 0.05 * float(point.axes.get("weak", 0.0))
        point.metrics["suite"]["acc"] = {"held_out": Estimate(value=value)}
        point.metrics["suite"]["ece"] = {"held_out": Estimate(value=0.1)}
        point.same_as = None
    return frontier


def test_importances_are_ordered_as_the_axes_act_and_say_the_direction():
    found = {each.axis: each for each in axis_importances(given_values()) if each.objective == "acc"}
    assert found["strong"].share > 0.8
    assert found["strong"].share > found["weak"].share > found["none"].share
    assert sum(each.share for each in found.values()) == pytest.approx(1.0)
    assert found["strong"].trend > 0.9
    assert found["weak"].trend < 0
    assert abs(found["none"].trend) < 0.1
    for each in found.values():
        assert 0.0 <= each.low <= each.share <= each.high <= 1.0


def test_there_is_none_for_one_axis_few_points_or_a_metric_that_does_not_vary():
    assert not any(each.objective == "ece" for each in axis_importances(given_values()))
    assert axis_importances(given_values({"strong": [i / 10 for i in range(11)]})) == []
    assert axis_importances(given_values({"strong": [0.0, 1.0], "weak": [0.0, 1.0]})) == []


def test_an_axis_of_words_has_an_importance_but_no_trend():
    frontier = given_values()
    frontier.axes["none"] = ["ties", "linear"]
    for point in (p for p in frontier.complete_points if p.axes):
        point.axes["none"] = {1: "ties", 2: "linear"}[point.axes["none"]]
    found = {each.axis: each for each in axis_importances(frontier) if each.objective == "acc"}
    assert found["none"].trend is None
    assert found["none"].share < 0.1
