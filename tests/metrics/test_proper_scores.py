"""Accuracy, Brier score and negative log-likelihood."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from helpers.metric_cases import adversarial_items, items, random_items
from mergekit_calib.metrics import accuracy, brier_score, negative_log_likelihood, nll_statistic, resample_weights

ADVERSARIAL = adversarial_items()


@pytest.mark.parametrize("n_choices", [2, 4, 26])
def test_random_items_score_as_scikit_learn_scores_them(n_choices):
    p, y = random_items(400, n_choices, seed=n_choices, sharpness=0.5)
    classes = list(range(n_choices))
    assert accuracy(p, y) == pytest.approx(accuracy_score(y, p.argmax(axis=1)), abs=1e-12)
    assert negative_log_likelihood(p, y) == pytest.approx(log_loss(y, p, labels=classes), abs=1e-9)
    per_choice = [brier_score_loss(y == c, p[:, c]) for c in classes]
    assert brier_score(p, y) == pytest.approx(np.sum(per_choice), abs=1e-9)


@pytest.mark.parametrize("case", ADVERSARIAL)
def test_adversarial_items_score_as_defined_and_as_scikit_learn_scores_them(case):
    p, y = ADVERSARIAL[case]
    assert brier_score(p, y) == pytest.approx(
        sum(((y == c) - p[:, c]) @ ((y == c) - p[:, c]) for c in range(p.shape[1])) / len(y)
    )
    if (p[np.arange(len(y)), y] > 0).all():
        assert negative_log_likelihood(p, y) == pytest.approx(log_loss(y, p, labels=range(p.shape[1])), abs=1e-9)
    else:
        assert negative_log_likelihood(p, y) == np.inf


@given(items())
def test_scores_are_within_their_ranges(case):
    assert 0 <= accuracy(*case) <= 1
    assert 0 <= brier_score(*case) <= 2
    assert 0 <= negative_log_likelihood(*case) <= np.inf


@given(items(min_items=2), st.integers(0, 99))
def test_neither_the_order_of_items_nor_padding_matters(case, seed):
    p, y = case
    order = np.random.default_rng(seed).permutation(len(p))
    padded = np.hstack([p[order], np.full((len(p), 3), np.nan)])
    for score in (accuracy, brier_score, negative_log_likelihood):
        assert score(padded, y[order]) == pytest.approx(score(p, y), abs=1e-12)


def test_certain_and_correct_is_the_best_and_certain_and_wrong_the_worst():
    assert (brier_score([[1.0, 0.0]], [0]), negative_log_likelihood([[1.0, 0.0]], [0])) == (0.0, 0.0)
    assert (brier_score([[1.0, 0.0]], [1]), negative_log_likelihood([[1.0, 0.0]], [1])) == (2.0, np.inf)
    assert str(negative_log_likelihood([[1.0, 0.0]], [0])) == "0.0"


def test_several_correct_choices_are_one_outcome():
    several = [[True, True, False]]
    for shared in ([0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.2, 0.8, 0.0]):
        assert brier_score([shared], several) == pytest.approx(0.0)
        assert negative_log_likelihood([shared], several) == pytest.approx(0.0)
    assert brier_score([[0.3, 0.3, 0.4]], several) == pytest.approx(0.4**2 + 0.4**2)
    assert negative_log_likelihood([[0.3, 0.3, 0.4]], several) == pytest.approx(-np.log(0.6))


def test_the_truth_is_the_best_forecast():
    truth = np.array([0.5, 0.3, 0.2])
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), [500, 300, 200])
    for score in (brier_score, negative_log_likelihood):
        honest = score(np.tile(truth, (1000, 1)), labels)
        for other in rng.dirichlet(np.ones(3), 50):
            assert honest < score(np.tile(other, (1000, 1)), labels)


def test_a_resample_without_the_impossible_item_has_a_finite_likelihood():
    p = np.array([[0.0, 1.0], [0.5, 0.5], [0.8, 0.2]])
    weights = resample_weights(3, 200)
    replicates = nll_statistic(p, [0, 0, 0]).replicates(weights)
    assert np.array_equal(np.isinf(replicates), weights[:, 0] > 0)
    drawn = weights[:, 0] == 0
    finite = (weights[drawn][:, 1:] @ -np.log([0.5, 0.8])) / 3
    assert replicates[drawn] == pytest.approx(finite)
