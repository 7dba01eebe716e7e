"""Dominance is a strict partial order; the frontier agrees with brute force, and volumes with those by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mergekit_calib.pareto import gains, hypervolume, non_dominated

# Few distinct numbers, so that ties and copies are common.
COARSE = st.sampled_from([-np.inf, -1.5, 0.0, 0.25, 0.5, 1.0, 3.0, np.inf])


@st.composite
def point_sets(draw, elements=COARSE, min_points=1, max_points=12):
    k = draw(st.integers(1, 5))
    n = draw(st.integers(min_points, max_points))
    values = draw(hnp.arrays(np.float64, (n, k), elements=elements))
    directions = draw(st.lists(st.sampled_from(["maximize", "minimize"]), min_size=k, max_size=k))
    return values, directions


def dominates(a, b, directions) -> bool:
    """Return whether `a` dominates `b`, from the frontier of the two alone."""
    first, second = non_dominated(np.array([a, b]), directions)
    return bool(first and not second)


def by_brute_force(values, directions):
    turned = gains(values, directions)
    defined = ~np.isnan(turned).any(axis=1)
    points = range(len(turned))
    return [
        bool(defined[i])
        and not any(defined[j] and (turned[j] >= turned[i]).all() and (turned[j] > turned[i]).any() for j in points)
        for i in points
    ]


@given(point_sets(st.one_of(COARSE, st.just(np.nan)), min_points=0))
def test_the_frontier_agrees_with_comparing_every_pair(points):
    values, directions = points
    assert non_dominated(values, directions).tolist() == by_brute_force(values, directions)


@given(point_sets())
def test_dominance_is_irreflexive(points):
    values, directions = points
    assert not dominates(values[0], values[0], directions)


@given(point_sets(min_points=3, max_points=3))
def test_dominance_is_transitive(points):
    (a, b, c), directions = points
    if dominates(a, b, directions) and dominates(b, c, directions):
        assert dominates(a, c, directions)


@given(point_sets(), st.randoms(use_true_random=False))
def test_the_frontier_does_not_depend_on_the_order_of_points(points, random):
    values, directions = points
    order = list(range(len(values)))
    random.shuffle(order)
    assert (non_dominated(values[order], directions) == non_dominated(values, directions)[order]).all()


@given(point_sets())
def test_the_frontier_does_not_depend_on_the_scale_of_an_objective(points):
    values, directions = points
    increasing = [np.tanh, lambda x: 7.0 * x - 3.0, lambda x: np.cbrt(x), np.arctan, np.exp]
    rescaled = np.stack([f(column) for f, column in zip(increasing, values.T, strict=False)], axis=1)
    assert (non_dominated(rescaled, directions) == non_dominated(values, directions)).all()


@given(point_sets())
def test_every_point_that_is_not_on_the_frontier_is_dominated_by_one_that_is(points):
    values, directions = points
    on = non_dominated(values, directions)
    assert on.any()
    for i in np.flatnonzero(~on):
        assert any(dominates(values[j], values[i], directions) for j in np.flatnonzero(on))


def test_every_copy_of_a_frontier_point_is_on_the_frontier():
    values = [[0.7, 0.05], [0.6, 0.10], [0.7, 0.05]]
    assert non_dominated(values, ["maximize", "minimize"]).tolist() == [True, False, True]


def test_a_point_with_a_nan_is_not_on_the_frontier_and_dominates_nothing():
    values = [[0.9, np.nan], [0.6, 0.10], [np.nan, 0.0]]
    assert non_dominated(values, ["maximize", "minimize"]).tolist() == [False, True, False]


def test_hypervolume_is_the_area_between_frontier_and_reference():
    # Accuracy above 0.5 and ECE below 0.2: a 0.1 by 0.15 block, and 0.1 by 0.1 beside it.
    values = [[0.6, 0.05], [0.7, 0.10], [0.55, 0.15]]
    assert hypervolume(values, ["maximize", "minimize"], [0.5, 0.2]) == pytest.approx(0.1 * 0.15 + 0.1 * 0.1)


def test_hypervolume_of_three_objectives_is_a_volume():
    assert hypervolume([[2.0, 3.0, -4.0]], ["maximize", "maximize", "minimize"], [0.0, 0.0, 0.0]) == pytest.approx(24.0)


@pytest.mark.parametrize("values", [np.empty((0, 2)), [[np.nan, 0.1]], [[0.4, 0.1]], [[0.6, 0.2]]])
def test_points_that_are_missing_undefined_or_not_better_than_the_reference_have_no_volume(values):
    assert hypervolume(values, ["maximize", "minimize"], [0.5, 0.2]) == 0.0


def test_a_point_infinitely_good_on_one_objective_has_infinite_volume_and_one_infinitely_bad_none():
    directions = ["maximize", "maximize", "minimize"]
    assert hypervolume([[1.0, 1.0, -np.inf]], directions, [0.0, 0.0, 0.0]) == np.inf
    assert hypervolume([[1.0, -np.inf, -1.0], [1.0, 1.0, -1.0]], directions, [0.0, 0.0, 0.0]) == pytest.approx(1.0)


@given(point_sets(st.floats(-10, 10), min_points=2))
def test_adding_a_point_never_reduces_the_hypervolume(points):
    values, directions = points
    reference = [-11.0 if d == "maximize" else 11.0 for d in directions]
    fewer, all_ = (hypervolume(v, directions, reference) for v in (values[:-1], values))
    assert all_ >= fewer * (1 - 1e-9)


def test_mistakes_in_shapes_and_directions_are_named():
    with pytest.raises(ValueError, match="'max'"):
        non_dominated([[1.0]], ["max"])
    with pytest.raises(ValueError, match="2 directions for values of shape"):
        non_dominated([[1.0]], ["maximize", "minimize"])
    with pytest.raises(ValueError, match="n_points, n_objectives"):
        non_dominated([1.0, 2.0], ["maximize", "minimize"])
    with pytest.raises(ValueError, match="reference"):
        hypervolume([[1.0]], ["maximize"], [np.nan])
