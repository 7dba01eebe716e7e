"""Axes as numbers between 0 and 1, and points of the space that a search compares."""

from __future__ import annotations

import numpy as np

from mergekit_calib.recipe.axes import read_axis
from mergekit_calib.search.surrogate.axis_features import distinct, features, neighbours, space_filling

AXES = {
    "range": read_axis({"min": -1.0, "max": 3.0}),
    "steps": read_axis([0, 10, 20, 50]),
    "method": read_axis(["linear", "slerp", "ties"]),
}


def test_numbers_are_scaled_by_the_ends_of_their_axis_and_names_are_one_apart():
    settings = [{"range": -1.0, "steps": 50, "method": "linear"}, {"range": 5.0, "steps": 20, "method": "ties"}]
    table = features(AXES, settings)
    assert table[:, :2].tolist() == [[0.0, 1.0], [1.5, 0.4]]
    assert np.linalg.norm(table[0, 2:] - table[1, 2:]) == 1.0


def test_no_settings_have_no_rows_but_all_columns():
    assert features(AXES, []).shape == (0, 5)


def test_an_axis_with_one_value_does_not_divide_by_zero():
    assert features({"x": read_axis([2.0])}, [{"x": 2.0}]).tolist() == [[0.0]]


def test_points_that_fill_the_space_lie_on_the_axes_and_reach_every_value():
    settings = space_filling(AXES, 64, seed=0)
    assert all(axis.holds(setting[name]) for setting in settings for name, axis in AXES.items())
    assert {(s["steps"], s["method"]) for s in settings} == {
        (a, b) for a in (0, 10, 20, 50) for b in AXES["method"].levels
    }


def test_neighbours_lie_on_the_axes_differ_from_their_origin_and_are_closer_with_a_smaller_width():
    origin = {"range": 1.0, "steps": 20, "method": "slerp"}
    distances = []
    for width in (0.2, 0.01):
        near = neighbours(AXES, [origin], width, 200, np.random.default_rng(0))
        assert all(axis.holds(setting[name]) for setting in near for name, axis in AXES.items())
        distances.append(np.mean([abs(setting["range"] - 1.0) for setting in near]))
        assert {setting["steps"] for setting in near} >= {10, 20, 50}
        assert np.mean([setting == origin for setting in near]) < 0.2
    assert distances[1] < 0.2 * distances[0]
    assert neighbours(AXES, [], 0.1, 5, np.random.default_rng(0)) == []


def test_repeated_settings_are_kept_once_in_order():
    one, two = {"range": 0.0, "steps": 0, "method": "ties"}, {"range": 0.0, "steps": 10, "method": "ties"}
    assert distinct(AXES, [two, one, two]) == [two, one]
