"""Probabilities of choices: the softmax over each item's choices, and the temperature that fits labels best."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax

from mergekit_calib.metrics.inputs import BoolArray, correct_choices
from mergekit_calib.metrics.statistic import FloatArray

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0


def choice_probabilities(scores: ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Return softmax(scores / temperature) over each item's choices, (n_items, n_choices), NaN-padded as the scores.

    Args:
        scores: (n_items, n_choices) log-likelihoods in nats, or logits; NaN-padded on the right. A score of −inf is
            a probability of 0.
        temperature: above 0; above 1 makes a model less confident, and never changes which choice is the best.

    Raises:
        ValueError: scores hold +inf, or NaN elsewhere than in padding; all scores of an item are −inf; the temperature
            is not positive.
    """
    if not 0.0 < temperature < np.inf:
        raise ValueError(f"temperature is {temperature}; a number above 0 is needed")
    filled, present = _checked_scores(scores)
    empty = np.isneginf(filled).all(axis=1)
    if empty.any():
        raise ValueError(f"scores of item {int(np.flatnonzero(empty)[0])} are all -inf; they make no distribution")
    return np.where(present, softmax(filled / temperature, axis=1), np.nan)


def fit_temperature(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the temperature under which the labels are likeliest (Guo et al. 2017); fit it on items of its own.

    The T that minimises the mean negative log-likelihood of softmax(scores / T), searched from 0.01 to 100, the ends
    included: a model that is always correct has no best T, and gets 0.01. Items whose choices all have the same score,
    or whose correct choices are all −inf (their likelihood is 0 at any T), do not matter; if no other item is left, the
    temperature is 1.

    Args:
        scores: (n_items, n_choices) log-likelihoods in nats, or logits; NaN-padded on the right.
        labels: (n_items,) int, or (n_items, n_choices) bool.

    Raises:
        ValueError: there are no items; scores hold +inf, or NaN elsewhere than in padding; a label is not among the
            item's choices.
    """
    filled, present = _checked_scores(scores)
    correct = correct_choices(np.asarray(labels), present)
    best_correct = np.where(correct, filled, -np.inf).max(axis=1)
    uneven = filled.max(axis=1) > np.where(present, filled, np.inf).min(axis=1)
    informative = np.isfinite(best_correct) & uneven
    if not informative.any():
        return 1.0
    # Differences to the best choice: β·s then never overflows, and softmax does not change.
    relative = filled[informative] - filled[informative].max(axis=1, keepdims=True)
    return 1.0 / _best_inverse_temperature(relative, correct[informative])


def _best_inverse_temperature(scores: FloatArray, correct: BoolArray) -> float:
    finite = np.where(np.isneginf(scores), 0.0, scores)
    correct_scores = np.where(correct, scores, -np.inf)

    def loss(beta: float) -> float:
        return float(np.mean(logsumexp(beta * scores, axis=1) - logsumexp(beta * correct_scores, axis=1)))

    def slope(beta: float) -> float:
        expected = softmax(beta * scores, axis=1) - softmax(beta * correct_scores, axis=1)
        return float(np.mean(np.sum(expected * finite, axis=1)))

    # With one correct choice the loss is convex in β = 1/T. With several it need not be, so a grid search comes first.
    grid = np.geomspace(1.0 / MAX_TEMPERATURE, 1.0 / MIN_TEMPERATURE, 65)
    # Of equal losses take the largest β: a loss that keeps falling becomes equal once it is too small for a float.
    best = len(grid) - 1 - int(np.argmin([loss(beta) for beta in grid[::-1]]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    if slope(high) <= 0.0:
        return float(high)
    if slope(low) >= 0.0:
        return float(low)
    return float(brentq(slope, low, high, xtol=1e-12, rtol=1e-12))


def _checked_scores(scores: ArrayLike) -> tuple[FloatArray, BoolArray]:
    """Return the scores with −inf for padding, and which choices each item has, both (n_items, n_choices)."""
    s = np.asarray(scores, dtype=np.float64)
    if s.ndim != 2 or s.size == 0:
        raise ValueError(f"scores have shape {s.shape}; (n_items >= 1, n_choices) is needed")
    present = ~np.isnan(s)
    bad = (present[:, 1:] & ~present[:, :-1]).any(axis=1) | ~present[:, 0] | np.isposinf(s).any(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(f"scores of item {row} hold NaN or +inf: {s[row]}; NaN may only pad a row on its right")
    return np.where(present, s, -np.inf), present
