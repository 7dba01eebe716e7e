"""SmoothECE: its limit, its range, and its resamples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from helpers.metric_cases import drawn_labels, items, random_items
from mergekit_calib.metrics import resample_weights, smooth_ece, smooth_ece_statistic


def test_a_calibrated_model_scores_zero_in_the_limit():
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.ones(4), 200_000)
    assert smooth_ece(p, drawn_labels(p, rng)) < 0.005


@settings(max_examples=40)
@given(items())
def test_it_is_between_0_and_1_in_any_order_of_items(case):
    p, y = case
    assert 0 <= smooth_ece(p, y) <= 1
    assert smooth_ece(p[::-1], y[::-1]) == pytest.approx(smooth_ece(p, y), abs=1e-9)


def test_a_replicate_is_the_error_of_the_drawn_items():
    p, y = random_items(200, 4, sharpness=0.4)
    weights = resample_weights(200, 12)
    for row, replicate in zip(weights, smooth_ece_statistic(p, y).replicates(weights), strict=True):
        drawn = np.repeat(np.arange(200), row.astype(int))
        assert replicate == pytest.approx(smooth_ece(p[drawn], y[drawn]), abs=1e-9)


def test_every_answer_correct_with_the_same_confidence_has_the_gap_as_its_error():
    assert smooth_ece(np.full(400, 0.8), np.ones(400, dtype=bool)) == pytest.approx(0.2, abs=0.03)
