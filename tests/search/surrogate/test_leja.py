"""Leja points: where they lie, and that a polynomial through them does not swing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BarycentricInterpolator

from mergekit_calib.search.surrogate.leja import leja_points


def test_the_first_points_between_two_ends_are_those_worked_out_by_hand():
    # After −1 and 1: the maximum of |x² − 1| is at 0; then of |x³ − x|, at ±1/√3.
    nodes = leja_points(-1.0, 1.0, [-1.0, 1.0], 4)
    assert nodes[:3] == [-1.0, 1.0, pytest.approx(0.0, abs=1e-12)]
    assert abs(nodes[3]) == pytest.approx(3**-0.5, abs=1e-3)


def test_nodes_are_values_that_the_axis_can_have_and_each_once():
    nodes = leja_points(0.0, 1.5, [0.0, 1.0, 1.5], 12, place=lambda x: round(x, 2))
    assert nodes[:3] == [0.0, 1.0, 1.5]
    assert len(set(nodes)) == 12
    assert all(round(x, 2) == x for x in nodes)


def test_more_nodes_begin_with_the_fewer():
    assert leja_points(0.0, 2.0, [0.0, 1.0, 2.0], 9)[:6] == leja_points(0.0, 2.0, [0.0, 1.0, 2.0], 6)


def test_a_polynomial_through_them_does_not_swing_where_one_through_even_nodes_does():
    def runge(x):
        return 1.0 / (1.0 + 25.0 * (2.0 * x - 1.0) ** 2)

    fine = np.linspace(0.0, 1.0, 501)
    worst = {}
    for name, nodes in {
        "leja": np.array(leja_points(0.0, 1.0, [0.0, 1.0], 17)),
        "even": np.linspace(0.0, 1.0, 17),
    }.items():
        worst[name] = np.abs(BarycentricInterpolator(nodes, runge(nodes), rng=0)(fine) - runge(fine)).max()
    assert worst["leja"] < 0.2 < 5.0 < worst["even"]
