"""Trends: scipy's τ, scikit-learn's isotonic fit, and the level of the test of monotonicity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau
from sklearn.isotonic import isotonic_regression

from mergekit_calib.metrics import kendall_tau, monotone_fit, monotone_p_value

few = st.lists(st.integers(-3, 3), min_size=3, max_size=9)


@given(few)
def test_tau_equals_scipys_with_ties(values):
    expected = kendalltau(np.arange(len(values)), values).statistic
    assert kendall_tau(np.arange(len(values)), values) == pytest.approx(expected, nan_ok=True)


def test_tau_is_computed_for_each_row_in_the_order_of_the_settings():
    values = np.random.default_rng(0).random((5, 6))
    assert kendall_tau(range(6), values) == pytest.approx([kendalltau(range(6), row).statistic for row in values])
    assert kendall_tau([3.0, 1.0, 2.0], [0.3, 0.1, 0.2]) == 1.0


def test_settings_must_be_at_least_two_and_different():
    with pytest.raises(ValueError, match="no two alike"):
        kendall_tau([1.0, 1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="at least 2"):
        kendall_tau([1.0], [1.0])


@given(few, st.booleans())
def test_the_monotone_fit_equals_scikit_learns(values, increasing):
    assert monotone_fit(values, increasing) == pytest.approx(isotonic_regression(values, increasing=increasing))


def test_monotone_values_have_a_p_value_of_1():
    assert monotone_p_value([1.0, 2.0, 2.0, 5.0], np.random.default_rng(0).normal(size=(4, 99))) == 1.0


def test_a_turn_far_beyond_the_noise_has_the_smallest_p_value():
    values = np.array([0.0, 1.0, 0.2, 1.2])
    replicates = values[:, None] + 0.05 * np.random.default_rng(0).normal(size=(4, 199))
    assert monotone_p_value(values, replicates) == pytest.approx(1 / 200)


def test_a_constant_truth_is_rejected_no_more_often_than_the_level():
    rng = np.random.default_rng(1)
    sets = rng.normal(size=(200, 5))
    rejected = np.mean([monotone_p_value(v, v[:, None] + rng.normal(size=(5, 60))) <= 0.05 for v in sets])
    assert rejected <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
