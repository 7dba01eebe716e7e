"""What changes for users of a parent: answers that differ from its own, and the divergence of the probabilities."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mergekit_calib.analysis.estimation import Estimator
from mergekit_calib.analysis.scoped_statistics import ScopedStatistic
from mergekit_calib.items.item_metrics.accuracies import correct
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable
from mergekit_calib.metrics import kl_divergence_statistic, mean_statistic
from mergekit_calib.metrics.statistic import Statistic
from mergekit_calib.results.findings import Changes


def changes_against(estimator: Estimator, parent: Tables, points: Mapping[str, Tables]) -> dict[str, Changes]:
    """Return point → how its answers differ from a parent's, on the held-out split's items with choices.

    All tasks with choices are pooled. Intervals come from the resamples of the other results, which keep a point's and
    the parent's answers to an item together.

    Args:
        estimator: has the resamples.
        parent: the parent's scores.
        points: point → its scores of the same items.

    Returns:
        The changes; empty if no task has choices.
    """
    reference = estimator.statistics.choices_of_suite(parent, "held_out")
    statistics: dict[tuple[str, str], ScopedStatistic] = {}
    for name, tables in points.items():
        items = estimator.statistics.choices_of_suite(tables, "held_out")
        if reference is None or items is None:
            return {}
        for field, (statistic, largest) in _statistics(items.table, reference.table).items():
            statistics[name, field] = ScopedStatistic(statistic, items.tasks, largest)
    estimates = estimator.estimates_of(statistics, "held_out")
    return {name: Changes(**{field: estimates[name, field] for field in Changes.model_fields}) for name in points}


def _statistics(table: ItemTable, reference: ItemTable) -> dict[str, tuple[Statistic, float]]:
    """Return each field of `Changes` → its statistic, and the largest value that it can have."""
    is_right, was_right = correct(table), correct(reference)
    return {
        "differ": (mean_statistic(_answers(table) != _answers(reference)), 1.0),
        "wrong_to_correct": (mean_statistic(~was_right & is_right), 1.0),
        "correct_to_wrong": (mean_statistic(was_right & ~is_right), 1.0),
        "kl": (kl_divergence_statistic(reference.log_likelihoods, table.log_likelihoods), np.inf),
    }


def _answers(table: ItemTable) -> NDArray[np.intp]:
    """Return the number of each item's likeliest choice, (n_items,); of equal ones the first."""
    answers: NDArray[np.intp] = np.nan_to_num(table.log_likelihoods, nan=-np.inf).argmax(axis=1)
    return answers
