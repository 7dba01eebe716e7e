"""SmoothECE, against the authors' relplot 1.0.3."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from relplot import smECE

from helpers.metric_cases import adversarial_items, drawn_labels, items, random_items, top
from mergekit_calib.metrics import resample_weights, smooth_ece, smooth_ece_statistic

ADVERSARIAL = adversarial_items()


@pytest.mark.parametrize(
    ("n_items", "sharpness"), [(1, 1.0), (2, 1.0), (30, 0.0), (500, 0.3), (5000, 1.0), (5000, 3.0)]
)
def test_random_items_score_as_in_relplot(n_items, sharpness):
    p, y = random_items(n_items, 4, seed=n_items, sharpness=sharpness)
    confidence, correct = top(p, y)
    assert smooth_ece(p, y) == pytest.approx(smECE(confidence, correct.astype(float)), abs=1e-9)


@pytest.mark.parametrize("case", ADVERSARIAL)
def test_adversarial_items_score_as_in_relplot(case):
    confidence, correct = top(*ADVERSARIAL[case])
    assert smooth_ece(*ADVERSARIAL[case]) == pytest.approx(smECE(confidence, correct.astype(float)), abs=1e-9)


@pytest.mark.parametrize("gap", [0.0, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.013, 0.03])
def test_small_errors_score_as_in_relplot(gap):
    # Small errors have small bandwidths, whose grids are finer, of an even or an odd number of points. Answers are
    # right as often as confidence says, less a gap that varies along it, with as little chance in it as can be.
    confidence = np.linspace(0.5, 1.0, 20_000)
    expected = np.cumsum(confidence - gap * (1 + np.sin(40 * confidence)))
    correct = np.diff(np.floor(expected), prepend=0.0)
    oracle, bandwidth = smECE(confidence, correct, return_width=True)
    assert bandwidth <= max(0.0021, 2 * gap)
    assert smooth_ece(confidence, correct > 0) == pytest.approx(oracle, abs=1e-9)


def test_a_calibrated_model_scores_zero_in_the_limit():
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.ones(4), 200_000)
    assert smooth_ece(p, drawn_labels(p, rng)) < 0.005


@settings(max_examples=40)
@given(items())
def test_it_stays_in_bounds_whatever_the_order(case):
    p, y = case
    assert 0 <= smooth_ece(p, y) <= 1
    assert smooth_ece(p[::-1], y[::-1]) == pytest.approx(smooth_ece(p, y), abs=1e-9)


def test_a_replicate_is_the_error_of_the_items_drawn():
    p, y = random_items(200, 4, sharpness=0.4)
    confidence, correct = top(p, y)
    weights = resample_weights(200, 12)
    for row, replicate in zip(weights, smooth_ece_statistic(p, y).replicates(weights), strict=True):
        drawn = np.repeat(np.arange(200), row.astype(int))
        assert replicate == pytest.approx(smECE(confidence[drawn], correct[drawn].astype(float)), abs=1e-9)
