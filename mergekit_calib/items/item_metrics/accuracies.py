"""Accuracies: the share of items whose likeliest choice is correct."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mergekit_calib.items.metric_definition import MetricContext, metric
from mergekit_calib.items.table import ItemTable
from mergekit_calib.metrics import mean_statistic
from mergekit_calib.metrics.statistic import Statistic


@metric("acc", direction="maximize", meaning="accuracy", most=1.0)
def acc(table: ItemTable, context: MetricContext) -> Statistic:
    """Return the accuracy of the likeliest choice, 0 to 1."""
    return mean_statistic(correct(table))


@metric("acc_norm", direction="maximize", meaning="accuracy by length", of_probabilities=False, most=1.0)
def acc_norm(table: ItemTable, context: MetricContext) -> Statistic:
    """Return the accuracy of the choice that is likeliest per character, 0 to 1."""
    return mean_statistic(correct_by_length(table))


def correct(table: ItemTable) -> NDArray[np.bool_]:
    """Return whether each item's likeliest choice is correct, (n_items,): lm-eval's `acc` of each document."""
    return _correct_of_best(table, table.log_likelihoods)


def correct_by_length(table: ItemTable) -> NDArray[np.bool_]:
    """Return whether each item's likeliest choice per character is correct, (n_items,): lm-eval's `acc_norm`."""
    chars = np.where(table.choice_chars > 0, table.choice_chars, np.nan)
    return _correct_of_best(table, table.log_likelihoods / chars)


def _correct_of_best(table: ItemTable, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    best = np.where(np.isnan(scores), -np.inf, scores).argmax(axis=1)
    of_best: NDArray[np.bool_] = table.labels[np.arange(len(table)), best]
    return of_best
