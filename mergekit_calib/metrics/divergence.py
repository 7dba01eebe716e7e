"""The Kullback-Leibler divergence between two models' probabilities of the same choices."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mergekit_calib.metrics.statistic import FunctionOfMeans, mean_statistic
from mergekit_calib.metrics.temperature import check_same_choices, choice_log_probabilities


def kl_divergence(reference: ArrayLike, scores: ArrayLike) -> float:
    """Return the mean over items of KL(reference ‖ model) = Σ_c p_c log(p_c / q_c), in nats, 0 to inf.

    p and q are the softmax of the reference's and the model's scores over the item's choices. It is 0 if both give
    every choice the same probability, and inf if the model rules out a choice that the reference does not.

    Args:
        reference: (n_items, n_choices) the reference's log-likelihoods in nats, or logits; NaN-padded on the right.
        scores: (n_items, n_choices) the model's, padded where the reference's are.

    Raises:
        ValueError: scores hold +inf, or NaN elsewhere than in padding; all scores of an item are −inf; an item has
            another number of choices in the reference.
    """
    return kl_divergence_statistic(reference, scores).value()


def kl_divergence_statistic(reference: ArrayLike, scores: ArrayLike) -> FunctionOfMeans:
    """Return `kl_divergence` as a statistic."""
    # From logarithms: probabilities below the smallest float would be 0, and the divergence inf.
    log_p, log_q = choice_log_probabilities(reference), choice_log_probabilities(scores)
    check_same_choices(~np.isnan(log_q), ~np.isnan(log_p))
    p = np.exp(log_p)
    terms = np.zeros_like(p)
    np.multiply(p, log_p - log_q, out=terms, where=p > 0.0)
    # Rounding may leave the sum of equal distributions just below 0.
    return mean_statistic(np.maximum(terms.sum(axis=1), 0.0))
