"""Scores of single items, averaged: accuracy, and the proper scores, Brier's and the logarithmic one.

Arguments are checked, and answers found, as `inputs.predictions` says. Where an item has several right choices they
are one outcome, whose probability is their sum, under both proper scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mergekit_calib.metrics.inputs import predictions
from mergekit_calib.metrics.statistic import FunctionOfMeans, mean_statistic


def accuracy(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """The share of items whose most probable choice is right, 0 to 1.

    Args:
        probabilities: (n_items, n_choices), NaN-padded.
        labels: (n_items,) int, or (n_items, n_choices) bool.
    """
    return accuracy_statistic(probabilities, labels).value()


def accuracy_statistic(probabilities: ArrayLike, labels: ArrayLike) -> FunctionOfMeans:
    """`accuracy`, to be resampled."""
    return mean_statistic(predictions(probabilities, labels).correct)


def brier_score(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Brier's score over all choices, 0 (certain and right) to 2 (certain and wrong); less is better.

    The mean over items of Σ_c (p_c − y_c)², as Brier (1950) and lm-eval's `brier_score`; scikit-learn's
    `brier_score_loss` of two classes is half of it. Several right choices are one outcome:
    (1 − Σ_right p)² + Σ_wrong p², which is 0 when all probability lies on right choices, however it is shared.

    Args:
        probabilities: (n_items, n_choices), NaN-padded.
        labels: (n_items,) int, or (n_items, n_choices) bool.
    """
    return brier_statistic(probabilities, labels).value()


def brier_statistic(probabilities: ArrayLike, labels: ArrayLike) -> FunctionOfMeans:
    """`brier_score`, to be resampled."""
    given = predictions(probabilities, labels)
    wrong = np.where(given.right, 0.0, given.probabilities)
    return mean_statistic((1.0 - given.right_mass) ** 2 + (wrong**2).sum(axis=1))


def negative_log_likelihood(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """The mean of −log p(right), in nats, 0 to inf; less is better.

    Several right choices count by their sum, −log Σ_right p. An item whose right choices all have probability 0
    (a log-likelihood of −inf) makes the mean inf: no floor is put under p, as scikit-learn's `log_loss` does.

    Args:
        probabilities: (n_items, n_choices), NaN-padded.
        labels: (n_items,) int, or (n_items, n_choices) bool.
    """
    return nll_statistic(probabilities, labels).value()


def nll_statistic(probabilities: ArrayLike, labels: ArrayLike) -> FunctionOfMeans:
    """`negative_log_likelihood`, to be resampled."""
    mass = predictions(probabilities, labels).right_mass
    with np.errstate(divide="ignore"):
        return mean_statistic(-np.log(mass))
