"""The superiority test is exact on small cases; its level and power are simulated in `tests/analysis`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mergekit_calib import metrics
from mergekit_calib.pareto import superiority


def test_a_point_identical_to_one_parent_has_a_p_of_1():
    p = np.full((2, 2, 2), 1e-4)
    p[1, 0] = metrics.sign_flip_p_value(np.zeros(50))
    beside, test = superiority(p)
    assert beside.shown
    assert (test.shown, test.p, test.p_adjusted) == (False, 1.0, 1.0)


def test_the_p_of_a_point_is_the_largest_of_its_comparisons():
    single = np.random.default_rng(1).random((6, 2, 3))
    assert [t.p for t in superiority(single)] == single.max(axis=(1, 2)).tolist()


def test_points_are_corrected_for_their_number_by_holm():
    # p = .01, .03, .04 → 3 × .01, 2 × .03, and .04 raised to the adjusted p before it.
    tests = superiority(np.array([0.04, 0.01, 0.03]).reshape(3, 1, 1), level=0.95)
    assert [t.p_adjusted for t in tests] == pytest.approx([0.06, 0.03, 0.06])
    assert [t.shown for t in tests] == [False, True, False]


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_a_p_of_exactly_the_level_is_shown(level):
    assert superiority(np.full((1, 1, 1), round(1 - level, 9)), level)[0].shown


@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_adjustment_keeps_the_order_of_points_and_never_lowers_p(n_points, seed):
    tests = superiority(np.random.default_rng(seed).random((n_points, 2, 2)) ** 3)
    for one in tests:
        assert one.p <= one.p_adjusted <= 1.0
        assert one.shown == (one.p_adjusted <= 0.05 + 1e-12)
        assert all(one.p_adjusted <= other.p_adjusted for other in tests if one.p < other.p)


def test_no_points_give_no_tests():
    assert superiority(np.empty((0, 2, 2))) == []


def test_mistakes_in_shapes_numbers_and_level_are_named():
    with pytest.raises(ValueError, match="at least 1 parent"):
        superiority(np.empty((3, 0, 2)))
    with pytest.raises(ValueError, match="p-values have shape"):
        superiority(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="not between 0 and 1"):
        superiority(np.full((1, 1, 1), np.nan))
    with pytest.raises(ValueError, match="level is 95"):
        superiority(np.zeros((3, 2, 2)), level=95)
