"""The arguments of metrics: accepted forms, and errors that name what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from helpers.metric_cases import items, random_items
from mergekit_calib import metrics
from mergekit_calib.metrics.inputs import predictions

OF_PROBABILITIES = [
    metrics.accuracy,
    metrics.area_under_risk_coverage,
    metrics.auroc,
    metrics.brier_decomposition,
    metrics.brier_score,
    metrics.classwise_calibration_error,
    metrics.expected_calibration_error,
    metrics.negative_log_likelihood,
    metrics.overconfidence,
    metrics.reliability_curve,
    metrics.risk_coverage_curve,
    metrics.smooth_ece,
]

nan = np.nan


@pytest.mark.parametrize("metric", OF_PROBABILITIES)
def test_no_items_is_an_error(metric):
    with pytest.raises(ValueError, match="no items"):
        metric(np.empty((0, 4)), np.empty(0, dtype=int))


@pytest.mark.parametrize("metric", OF_PROBABILITIES)
def test_nan_is_an_error(metric):
    p, y = random_items(20)
    p[7, 1] = nan
    with pytest.raises(ValueError, match="item 7 hold NaN"):
        metric(p, y)


@pytest.mark.parametrize(
    ("p", "y", "message"),
    [
        ([[nan, 1.0]], [0], "item 0 hold NaN"),
        ([[nan, nan]], [0], "item 0 hold NaN"),
        ([[0.5, 0.5], [0.5, 0.49]], [0, 0], "item 1 are .* sum 1"),
        ([[1.5, -0.5]], [0], "item 0 are"),
        ([[np.inf, 0.0]], [0], "item 0 are"),
        ([[0.5, 0.5]], [2], "label of item 0 is 2, but the item has 2 choices"),
        ([[0.5, 0.5]], [-1], "label of item 0 is -1"),
        ([[0.5, 0.5, nan]], [2], "label of item 0 is 2, but the item has 2 choices"),
        ([[0.5, 0.5, nan]], [[True, False, True]], "but the item has 2 choices"),
        ([[0.5, 0.5]], [[False, False]], "item 0 has no correct choice"),
        ([[0.5, 0.5]], [0.0], "type float64"),
        ([[0.5, 0.5]], [True], "type bool"),
        ([[0.5, 0.5]], [0, 1], r"shape \(2,\)"),
        ([[[1.0]]], [0], r"shape \(1, 1, 1\)"),
        ([0.5, 1.2], [True, False], "confidence of item 1 is 1.2"),
        ([0.5, nan], [True, False], "confidence of item 1 is nan"),
        ([0.5, 0.6], [1, 0], "type int64"),
        ([0.5, 0.6], [True], r"shape \(1,\)"),
    ],
)
def test_an_error_names_the_argument_that_does_not_fit(p, y, message):
    with pytest.raises(ValueError, match=message):
        predictions(np.array(p), np.array(y))


def test_rows_may_sum_to_1_up_to_rounding():
    p = np.array([[0.5 + 4e-7, 0.5], [1 / 3, 2 / 3]])
    assert predictions(p, np.array([0, 1])).correct.all()
    above = predictions(np.array([[1.0 + 4e-7, 0.0]]), np.array([0]))
    assert (above.confidence[0], above.label_mass[0]) == (1.0, 1.0)


def test_a_tie_goes_to_the_first_choice():
    checked = predictions(np.array([[0.2, 0.4, 0.4]] * 2), np.array([1, 2]))
    assert checked.correct.tolist() == [True, False]


def test_padding_is_never_the_answer():
    checked = predictions(np.array([[1.0, nan, nan], [0.1, 0.2, 0.7]]), np.array([0, 2]))
    assert checked.correct.all()
    assert checked.confidence.tolist() == [1.0, 0.7]


@settings(max_examples=40)
@given(items())
def test_both_forms_of_labels_agree(case):
    p, y = case
    one_hot = np.arange(p.shape[1]) == y[:, None]
    for metric in (metrics.accuracy, metrics.brier_score, metrics.negative_log_likelihood, metrics.smooth_ece):
        assert metric(p, y) == metric(p, one_hot)


@settings(max_examples=40)
@given(items())
def test_metrics_of_confidences_are_those_of_the_probabilities(case):
    p, y = case
    checked = predictions(p, y)
    for metric in (
        metrics.accuracy,
        metrics.expected_calibration_error,
        metrics.overconfidence,
        metrics.area_under_risk_coverage,
        metrics.smooth_ece,
    ):
        assert metric(checked.confidence, checked.correct) == metric(p, y)


def test_confidences_stand_for_two_outcomes_under_the_proper_scores():
    confidence, correct = np.array([0.3, 0.9]), np.array([True, False])
    pair = np.array([[0.3, 0.7], [0.9, 0.1]])
    assert metrics.brier_score(confidence, correct) == pytest.approx(metrics.brier_score(pair, [0, 1]))
    assert metrics.negative_log_likelihood(confidence, correct) == pytest.approx(-np.log([0.3, 0.1]).mean())
    # An answer of confidence below one half is still the answer that was given.
    assert metrics.accuracy(confidence, correct) == 0.5
    with pytest.raises(ValueError, match="each choice"):
        metrics.classwise_calibration_error(confidence, correct)


def test_every_public_name_is_there():
    assert len(set(metrics.__all__)) == len(metrics.__all__)
    assert all(hasattr(metrics, name) for name in metrics.__all__)
