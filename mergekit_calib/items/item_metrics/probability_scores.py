"""Metrics that are means over items of a number for each item: proper scores, and overconfidence."""

from __future__ import annotations

from mergekit_calib.items.metric_definition import MetricContext, metric
from mergekit_calib.items.table import ItemTable
from mergekit_calib.metrics import brier_statistic, nll_statistic, overconfidence_statistic
from mergekit_calib.metrics.statistic import Statistic


@metric("brier", direction="minimize", meaning="Brier score over all choices", most=2.0)
def brier(table: ItemTable, context: MetricContext) -> Statistic:
    """Return the Brier score over all choices, 0 to 2."""
    return brier_statistic(table.probabilities, table.labels)


@metric("nll", direction="minimize", meaning="negative log-likelihood, nats")
def nll(table: ItemTable, context: MetricContext) -> Statistic:
    """Return the negative log-likelihood of the label, in nats."""
    return nll_statistic(table.probabilities, table.labels)


@metric("overconfidence", direction="minimize", meaning="mean confidence minus accuracy, signed", most=1.0, signed=True)
def overconfidence(table: ItemTable, context: MetricContext) -> Statistic:
    """Return the mean confidence less the accuracy, −1 to 1."""
    return overconfidence_statistic(table.probabilities, table.labels)
