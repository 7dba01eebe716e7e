"""Accuracy, and the two proper scores: Brier's and the logarithmic one.

The arguments of every function are checked by `inputs.predictions`, which also defines the answer to an item.
Under both proper scores, several correct choices of an item are one outcome, whose probability is their sum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mergekit_calib.metrics.inputs import predictions
from mergekit_calib.metrics.statistic import FunctionOfMeans, mean_statistic


def accuracy(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the share of items whose most probable choice is correct, 0 to 1.

    Args:
        probabilities: (n_items, n_choices), NaN-padded.
        labels: (n_items,) int, or (n_items, n_choices) bool.
    """
    return accuracy_statistic(probabilities, labels).value()


def accuracy_statistic(probabilities: ArrayLike, labels: ArrayLike) -> FunctionOfMeans:
    """Return `accuracy` as a statistic."""
    return mean_statistic(predictions(probabilities, labels).correct)


def brier_score(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the Brier score over all choices, 0 (certain and correct) to 2 (certain and wrong); less is better.

    The mean over items of Σ_c (p_c − y_c)², as in Brier (1950) and lm-eval's `brier_score`; scikit-learn's
    `brier_score_loss` of two classes is half of it. Several correct choices are one outcome:
    (1 − Σ_correct p)² + Σ_wrong p², which is 0 if all probability lies on correct choices, however it is shared.

    Args:
        probabilities: (n_items, n_choices), NaN-padded.
        labels: (n_items,) int, or (n_items, n_choices) bool.
    """
    return brier_statistic(probabilities, labels).value()


def brier_statistic(probabilities: ArrayLike, labels: ArrayLike) -> FunctionOfMeans:
    """Return `brier_score` as a statistic."""
    given = predictions(probabilities, labels)
    wrong = np.where(given.labels, 0.0, given.probabilities)
    return mean_statistic((1.0 - given.label_mass) ** 2 + (wrong**2).sum(axis=1))


def negative_log_likelihood(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean of −log p(label), in nats, 0 to inf; less is better.

    Several correct choices count by their sum, −log Σ_correct p. An item whose correct choices all have probability 0
    (a log-likelihood of −inf) makes the mean inf: p is not clipped, as it is in scikit-learn's `log_loss`.

    Args:
        probabilities: (n_items, n_choices), NaN-padded.
        labels: (n_items,) int, or (n_items, n_choices) bool.
    """
    return nll_statistic(probabilities, labels).value()


def nll_statistic(probabilities: ArrayLike, labels: ArrayLike) -> FunctionOfMeans:
    """Return `negative_log_likelihood` as a statistic."""
    mass = predictions(probabilities, labels).label_mass
    with np.errstate(divide="ignore"):
        return mean_statistic(-np.log(mass))
