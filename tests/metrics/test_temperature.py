"""Probabilities from scores, and the temperature that fits labels, or another model, best."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from helpers.metric_cases import drawn_labels
from mergekit_calib.metrics import (
    accuracy,
    choice_log_probabilities,
    choice_probabilities,
    fit_temperature,
    fit_temperature_to_model,
    negative_log_likelihood,
)

nan, inf = np.nan, np.inf


def scores_and_labels(n_items=20_000, temperature=1.0, seed=0):
    """Scores whose labels are drawn from softmax(scores / temperature)."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2, (n_items, 4))
    return scores, drawn_labels(softmax(scores / temperature, axis=1), rng)


def test_probabilities_are_the_softmax_of_an_items_own_choices():
    p = choice_probabilities([[-1.0, -2.0, nan], [-800.0, -801.0, -802.0], [-3.0, -inf, nan]])
    assert p[0, :2] == pytest.approx(softmax([-1.0, -2.0]))
    assert p[1] == pytest.approx(softmax([2.0, 1.0, 0.0]))
    assert p[2, :2].tolist() == [1.0, 0.0]
    assert np.isnan(p[:, 2]).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([[-inf, -inf, nan]], "item 0 are all -inf"),
        ([[-1.0, -2.0], [nan, -1.0]], "item 1 hold NaN"),
        ([[-1.0, inf]], "item 0 hold NaN or"),
        ([-1.0, -2.0], r"shape \(2,\)"),
        (np.empty((0, 3)), "n_items >= 1"),
    ],
)
def test_scores_that_make_no_distribution_are_an_error(scores, message):
    with pytest.raises(ValueError, match=message):
        choice_probabilities(scores)


@pytest.mark.parametrize("temperature", [0.0, -1.0, nan, inf])
def test_a_temperature_must_be_a_positive_number(temperature):
    with pytest.raises(ValueError, match="temperature"):
        choice_probabilities([[0.0, 1.0]], temperature)


@pytest.mark.parametrize("truth", [0.3, 1.0, 2.5, 8.0])
def test_the_temperature_that_labels_were_drawn_with_is_recovered(truth):
    assert fit_temperature(*scores_and_labels(temperature=truth)) == pytest.approx(truth, rel=0.05)


@settings(max_examples=40)
@given(st.integers(0, 1000), st.integers(2, 60))
def test_no_other_temperature_makes_the_labels_likelier(seed, n_items):
    scores, labels = scores_and_labels(n_items, 1.5, seed)
    best = fit_temperature(scores, labels)
    at_best = negative_log_likelihood(choice_probabilities(scores, best), labels)
    for other in [*np.geomspace(0.01, 100, 60), best * 1.001, best / 1.001]:
        if 0.01 <= other <= 100:
            assert at_best <= negative_log_likelihood(choice_probabilities(scores, other), labels) + 1e-12


@settings(max_examples=40)
@given(st.integers(0, 1000))
def test_no_other_temperature_makes_several_labels_of_an_item_likelier(seed):
    scores, _ = scores_and_labels(12, 1.0, seed)
    labels = np.random.default_rng(seed).random(scores.shape) < 0.4
    labels[:, 1] |= ~labels.any(axis=1)
    at_best = negative_log_likelihood(choice_probabilities(scores, fit_temperature(scores, labels)), labels)
    for other in np.geomspace(0.01, 100, 100):
        assert at_best <= negative_log_likelihood(choice_probabilities(scores, other), labels) + 1e-9


def test_scaled_scores_scale_the_temperature_and_shifted_ones_leave_it():
    scores, labels = scores_and_labels(500)
    best = fit_temperature(scores, labels)
    assert fit_temperature(3 * scores, labels) == pytest.approx(3 * best, rel=1e-9)
    assert fit_temperature(scores - 900, labels) == pytest.approx(best, rel=1e-9)


def test_a_temperature_never_changes_the_answers():
    scores, labels = scores_and_labels(300)
    for temperature in (0.05, 20.0):
        assert accuracy(choice_probabilities(scores, temperature), labels) == accuracy(
            choice_probabilities(scores), labels
        )


def test_the_temperature_stays_between_0_01_and_100():
    scores = np.array([[2.0, 0.0], [3.0, 0.0]])
    assert fit_temperature(scores, [0, 0]) == pytest.approx(0.01)
    assert fit_temperature(scores, [1, 1]) == pytest.approx(100.0)


@pytest.mark.parametrize("gap", [1e-3, 1.0, 10.0, 50.0, 1000.0, 1e5])
def test_a_model_that_is_always_correct_gets_the_smallest_temperature(gap):
    assert fit_temperature([[0.0, -gap], [-2 * gap, 0.0]], [0, 1]) == pytest.approx(0.01)
    assert fit_temperature([[0.0, -gap]], [1]) == pytest.approx(100.0)


def test_items_with_equal_scores_or_an_impossible_label_do_not_matter():
    scores, labels = scores_and_labels(200)
    best = fit_temperature(scores, labels)
    uninformative = np.array([[-1.0, -1.0, -1.0, -1.0], [0.0, -inf, -2.0, -1.0], [-4.0, nan, nan, nan], [-inf] * 4])
    with_uninformative = np.vstack([scores, uninformative])
    assert fit_temperature(with_uninformative, [*labels, 2, 1, 0, 3]) == pytest.approx(best, rel=1e-9)
    assert fit_temperature(uninformative, [2, 1, 0, 3]) == 1.0


def test_impossible_wrong_choices_do_not_matter():
    scores, labels = scores_and_labels(400, 2.0)
    widened = np.hstack([scores, np.full((400, 1), -inf)])
    assert fit_temperature(widened, labels) == pytest.approx(fit_temperature(scores, labels), rel=1e-9)


def test_a_label_on_padding_is_an_error():
    with pytest.raises(ValueError, match="label of item 0"):
        fit_temperature([[0.0, 1.0, nan]], [2])


def test_log_probabilities_are_finite_where_probabilities_are_too_small_for_a_float():
    logs = choice_log_probabilities([[0.0, -2000.0, nan], [0.0, -inf, -1.0]])
    assert logs[0, 1] == -2000.0
    assert np.isnan(logs[0, 2])
    assert logs[1, 1] == -inf
    assert np.exp(logs[1]) == pytest.approx(choice_probabilities([[0.0, -inf, -1.0]])[0])


@pytest.mark.parametrize("truth", [0.3, 1.0, 2.5])
def test_the_temperature_by_which_a_model_is_sharper_than_another_is_recovered_without_labels(truth):
    reference, _ = scores_and_labels(500)
    assert fit_temperature_to_model(truth * reference + 7.0, reference) == pytest.approx(truth, rel=1e-6)


def test_only_items_on_which_the_models_agree_count():
    reference, _ = scores_and_labels(500)
    sharper = 2.0 * reference
    # A reference that is unsure of another answer would ask for a larger temperature.
    disagreeing = np.roll(reference, 1, axis=1)
    others = np.concatenate([reference, 0.1 * disagreeing])
    assert fit_temperature_to_model(np.concatenate([sharper, sharper]), others) == pytest.approx(2.0, rel=1e-6)


@settings(max_examples=40)
@given(st.integers(0, 1000), st.integers(4, 40))
def test_no_other_temperature_brings_the_model_closer_to_the_reference(seed, n_items):
    reference, scores = (scores_and_labels(n_items, seed=s)[0] for s in (seed, seed + 1))
    agree = reference.argmax(axis=1) == scores.argmax(axis=1)

    def loss(temperature):
        if not agree.any():
            return 0.0
        log_q = choice_log_probabilities(scores[agree] / temperature)
        return -np.mean(np.sum(choice_probabilities(reference[agree]) * log_q, axis=1))

    best = fit_temperature_to_model(scores, reference)
    # The search ends at 0.01 and 100, where the best may lie.
    near = np.clip([best * 1.01, best / 1.01], 0.01, 100)
    assert all(loss(best) <= loss(other) + 1e-12 for other in [*np.geomspace(0.01, 100, 60), *near])


def test_without_an_item_that_says_something_the_temperature_to_a_model_is_1():
    assert fit_temperature_to_model([[0.0, 1.0]], [[1.0, 0.0]]) == 1.0  # they disagree
    assert fit_temperature_to_model([[0.0, 0.0]], [[1.0, 0.0]]) == 1.0  # equal scores stay equal
    assert fit_temperature_to_model([[1.0, -inf]], [[1.0, 0.0]]) == 1.0  # infinitely far at any temperature


def test_a_reference_with_other_choices_is_an_error():
    with pytest.raises(ValueError, match="not of the same items"):
        fit_temperature_to_model([[0.0, 1.0]], [[0.0, 1.0, 2.0]])
