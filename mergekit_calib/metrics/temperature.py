"""Probabilities of choices: the softmax over each item's choices, and the temperature that fits best.

A temperature is fitted to labels (Guo et al. 2017), or without labels to another model (DACA, Luo et al. 2025).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import log_softmax, logsumexp, softmax

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
    filled, present = _distributions(scores)
    return np.where(present, softmax(filled / temperature, axis=1), np.nan)


def choice_log_probabilities(scores: ArrayLike) -> FloatArray:
    """Return the logarithm of `choice_probabilities`, (n_items, n_choices), in nats, NaN-padded as the scores.

    It is finite for probabilities below the smallest float, and −inf where the score is.

    Args:
        scores: as in `choice_probabilities`.

    Raises:
        ValueError: as in `choice_probabilities`.
    """
    filled, present = _distributions(scores)
    return np.where(present, log_softmax(filled, axis=1), np.nan)


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
    finite = np.where(np.isneginf(relative), 0.0, relative)
    of_correct = np.where(correct[informative], relative, -np.inf)

    def loss(beta: float) -> float:
        return float(np.mean(logsumexp(beta * relative, axis=1) - logsumexp(beta * of_correct, axis=1)))

    def slope(beta: float) -> float:
        expected = softmax(beta * relative, axis=1) - softmax(beta * of_correct, axis=1)
        return float(np.mean(np.sum(expected * finite, axis=1)))

    return 1.0 / _best_inverse_temperature(loss, slope)


def fit_temperature_to_model(scores: ArrayLike, reference: ArrayLike) -> float:
    """Return the temperature under which a model is as confident as another where both agree; it needs no labels.

    Disagreement-Aware Confidence Alignment (DACA; Luo et al. 2025, arXiv 2505.16690): the T that minimises the mean
    cross-entropy −Σ_c p_c log softmax(scores / T)_c, where p are the reference's probabilities, over the items on which
    both models have the same likeliest choice. The reference is a calibrated model, such as the one before alignment.
    Where the two disagree, its confidence in its own answer says little about the model's, and would make T too large.

    T is searched as in `fit_temperature`. Items whose choices all have the same score do not matter, nor those with a
    choice that the model rules out (−inf) and the reference does not; if no other item is left, the temperature is 1.

    Args:
        scores: (n_items, n_choices) the model's log-likelihoods in nats, or logits; NaN-padded on the right.
        reference: (n_items, n_choices) the other model's, padded where `scores` are.

    Raises:
        ValueError: as in `choice_probabilities`, for either model; an item has another number of choices in the
            reference.
    """
    (filled, present), (others, in_reference) = _distributions(scores), _distributions(reference)
    check_same_choices(present, in_reference)
    expected = softmax(others, axis=1)
    agree = filled.argmax(axis=1) == others.argmax(axis=1)
    uneven = filled.max(axis=1) > np.where(present, filled, np.inf).min(axis=1)
    ruled_out = (np.isneginf(filled) & (expected > 0.0)).any(axis=1)
    informative = agree & uneven & ~ruled_out
    if not informative.any():
        return 1.0
    target = expected[informative]
    relative = filled[informative] - filled[informative].max(axis=1, keepdims=True)
    finite = np.where(np.isneginf(relative), 0.0, relative)
    wanted = np.sum(target * finite, axis=1)

    def loss(beta: float) -> float:
        return float(np.mean(logsumexp(beta * relative, axis=1) - beta * wanted))

    def slope(beta: float) -> float:
        return float(np.mean(np.sum(softmax(beta * relative, axis=1) * finite, axis=1) - wanted))

    return 1.0 / _best_inverse_temperature(loss, slope)


def _best_inverse_temperature(loss: Callable[[float], float], slope: Callable[[float], float]) -> float:
    """Return the β = 1 / T with the least loss, given the loss and its derivative."""
    # The loss is convex in β but for several correct choices of an item, so a grid search comes first.
    grid = np.geomspace(1.0 / MAX_TEMPERATURE, 1.0 / MIN_TEMPERATURE, 65)
    # Of equal losses take the largest β: a loss that keeps falling becomes equal once it is too small for a float.
    best = len(grid) - 1 - int(np.argmin([loss(beta) for beta in grid[::-1]]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    if slope(high) <= 0.0:
        return float(high)
    if slope(low) >= 0.0:
        return float(low)
    return float(brentq(slope, low, high, xtol=1e-12, rtol=1e-12))


def check_same_choices(present: BoolArray, in_reference: BoolArray) -> None:
    """Check that two models' items have the same choices.

    Args:
        present: (n_items, n_choices) which choices each item has in one model's scores.
        in_reference: (n_items, n_choices) the same for the other.

    Raises:
        ValueError: they differ.
    """
    if present.shape != in_reference.shape or (present != in_reference).any():
        raise ValueError("the two models' scores are not of the same items with the same choices")


def _distributions(scores: ArrayLike) -> tuple[FloatArray, BoolArray]:
    """Return `_checked_scores` of scores that make a distribution over each item's choices."""
    filled, present = _checked_scores(scores)
    empty = np.isneginf(filled).all(axis=1)
    if empty.any():
        raise ValueError(f"scores of item {int(np.flatnonzero(empty)[0])} are all -inf; they make no distribution")
    return filled, present


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
