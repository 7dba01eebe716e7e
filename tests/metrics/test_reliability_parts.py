"""The reliability curve and the Brier score's parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve

from helpers.metric_cases import adversarial_items, items, random_items
from mergekit_calib.metrics import (
    brier_decomposition,
    brier_score,
    expected_calibration_error,
    reliability_curve,
    wilson_interval,
)


@given(items(), st.integers(1, 20), st.sampled_from(["width", "mass"]))
def test_the_parts_add_up_to_the_score(case, n_bins, binning):
    parts = brier_decomposition(*case, n_bins, binning)
    assert parts.score == pytest.approx(brier_score(*case), abs=1e-12)
    assert min(parts.reliability, parts.resolution, parts.within_bin_variance) >= 0
    assert 0 <= parts.uncertainty <= 2


@pytest.mark.parametrize("case", adversarial_items())
def test_the_parts_of_adversarial_items_add_up(case):
    p, y = adversarial_items()[case]
    assert brier_decomposition(p, y).score == pytest.approx(brier_score(p, y), abs=1e-12)


def test_the_parts_add_up_with_several_correct_choices():
    p, _ = random_items(200, 5)
    labels = np.random.default_rng(0).random((200, 5)) < 0.4
    labels[:, 0] |= ~labels.any(axis=1)
    assert brier_decomposition(p, labels).score == pytest.approx(brier_score(p, labels), abs=1e-12)


def test_the_score_of_forecasting_the_average_is_its_uncertainty():
    parts = brier_decomposition(np.full((40, 4), 0.25), np.arange(40) % 4)
    assert parts.uncertainty == pytest.approx(0.75)
    others = (parts.reliability, parts.resolution, parts.within_bin_variance, parts.within_bin_covariance)
    assert others == pytest.approx((0, 0, 0, 0))


def test_certain_and_correct_forecasts_resolve_all_uncertainty():
    parts = brier_decomposition(np.eye(4), np.arange(4))
    assert parts.resolution == pytest.approx(parts.uncertainty)
    assert parts.reliability == pytest.approx(0)


def test_with_one_forecast_in_each_bin_the_within_bin_terms_are_zero():
    rng = np.random.default_rng(3)
    level = rng.integers(1, 10, 300) / 10 + 0.05
    p = np.stack([level, 1 - level], axis=1)
    parts = brier_decomposition(p, rng.integers(0, 2, 300), n_bins=10)
    assert parts.within_bin_variance == pytest.approx(0, abs=1e-12)
    assert parts.within_bin_covariance == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("n_bins", [5, 15])
def test_the_curve_equals_scikit_learns(n_bins):
    p, y = random_items(1000, 3, sharpness=0.5)
    accuracy, confidence = calibration_curve(p.argmax(axis=1) == y, p.max(axis=1), n_bins=n_bins)
    curve = reliability_curve(p, y, n_bins)
    assert curve.accuracy == pytest.approx(accuracy, abs=1e-12)
    assert curve.confidence == pytest.approx(confidence, abs=1e-12)


@given(items(), st.integers(1, 20), st.sampled_from(["width", "mass"]))
def test_the_bins_of_the_curve_hold_every_item_in_order(case, n_bins, binning):
    curve = reliability_curve(*case, n_bins, binning)
    assert curve.counts.sum() == len(case[0])
    assert curve.counts.min() > 0
    assert (np.diff(curve.bins) > 0).all()
    assert 0 <= curve.bins[0] <= curve.bins[-1] < n_bins
    assert (curve.lower - 1e-12 <= curve.confidence).all()
    assert (curve.confidence <= curve.upper + 1e-12).all()
    assert (curve.low <= curve.accuracy).all()
    assert (curve.accuracy <= curve.high).all()
    for values in (curve.low, curve.high, curve.accuracy):
        assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_the_calibration_error_follows_from_the_curve(binning):
    p, y = random_items(400, 4, sharpness=0.3)
    curve = reliability_curve(p, y, 10, binning)
    gap = np.abs(curve.confidence - curve.accuracy)
    assert curve.counts @ gap / 400 == pytest.approx(expected_calibration_error(p, y, 10, binning), abs=1e-12)


def test_a_confidence_of_1_is_in_the_last_bin_of_the_curve():
    curve = reliability_curve([1.0, 0.97], [True, False], n_bins=10)
    assert (curve.bins.tolist(), curve.counts.tolist()) == ([9], [2])
    assert (curve.lower.tolist(), curve.upper.tolist()) == ([0.9], [1.0])


def test_intervals_are_wilson_score_intervals():
    for hits, trials in [(0, 1), (1, 1), (3, 10), (500, 500), (17, 400)]:
        for level in (0.5, 0.95, 0.999):
            oracle = binomtest(hits, trials).proportion_ci(level, method="wilson")
            low, high = wilson_interval(hits / trials, trials, level)
            assert (low, high) == pytest.approx((oracle.low, oracle.high), abs=1e-9)


def test_a_level_outside_0_to_1_is_an_error():
    with pytest.raises(ValueError, match="level"):
        reliability_curve([0.5], [True], level=1.0)
