"""The superiority test is exact on small cases, keeps its level, and has the power stated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.paired_tests import Model, answers, binned_errors
from mergekit_calib import metrics
from mergekit_calib.pareto import superiority


def sweep(base: Model, aligned: Model, points: list[Model], n_items: int, rng: np.random.Generator, n_resamples=300):
    """Return the p-values (n_points, 2, 2) of gains in accuracy and ECE of one sweep."""
    confidence, correct = answers([base, aligned, *points], n_items, rng)
    errors = binned_errors(confidence, correct, np.ones((1, n_items)))[0]
    drawn = binned_errors(confidence, correct, rng.multinomial(n_items, np.full(n_items, 1 / n_items), n_resamples))
    p = np.empty((len(points), 2, 2))
    for i in range(len(points)):
        for j in range(2):
            p[i, j, 0] = metrics.sign_flip_p_value(correct[2 + i] - correct[j])
            p[i, j, 1] = metrics.bootstrap_p_value(drawn[:, j] - drawn[:, 2 + i], errors[j] - errors[2 + i])
    return p


def share_of_sweeps(n_sweeps: int, *models, n_items: int, seed: int):
    """Return the share of simulated sweeps in which any point is shown superior."""
    rng = np.random.default_rng(seed)
    return np.mean([any(t.shown for t in superiority(sweep(*models, n_items, rng))) for _ in range(n_sweeps)])


# Two binomial standard errors above 5 % of 300 sweeps.
MOST = 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


@pytest.mark.parametrize(
    ("base", "aligned", "point"),
    [
        pytest.param(Model(gap=0.05), Model(gap=0.05), Model(gap=0.05), id="alike"),
        pytest.param(Model(gap=0.02), Model(gap=0.10), Model(mean=1.8, gap=0.02), id="better except in base's ECE"),
        pytest.param(Model(), Model(gap=0.10), Model(mean=1.5), id="better except in a calibrated base's ECE"),
        # Less overconfident at the aligned model's accuracy.
        pytest.param(Model(mean=0.2, gap=0.10), Model(gap=0.15), Model(mean=-0.1657), id="better except in accuracy"),
    ],
)
@pytest.mark.parametrize("n_points", [1, 5])
def test_sweeps_without_a_superior_point_claim_one_no_more_often_than_the_level(base, aligned, point, n_points):
    claims = share_of_sweeps(300, base, aligned, [point] * n_points, n_items=300, seed=7)
    assert claims <= MOST


@pytest.mark.parametrize("parent", ["base", "aligned"])
def test_many_points_equal_to_the_better_parent_are_claimed_superior_no_more_often_than_the_level(parent):
    good, bad = Model(mean=1.3, gap=0.02), Model(gap=0.10)
    pair = (good, bad) if parent == "base" else (bad, good)
    claims = share_of_sweeps(100, *pair, [good] * 15, n_items=300, seed=11)
    assert claims <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 100)


@pytest.mark.parametrize(("n_items", "least", "most"), [(400, 0.0, 0.5), (4000, 0.95, 1.0)])
def test_the_power_to_find_one_point_of_five_grows_with_the_items(n_items, least, most):
    # Accuracy .77 against .69 and .65, ECE .02 against .06 and .10.
    models = (Model(gap=0.06), Model(gap=0.10), [Model(mean=1.3, gap=0.02), *[Model(gap=0.08)] * 4])
    assert least <= share_of_sweeps(40, *models, n_items=n_items, seed=5) <= most


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
