"""Metrics that compare a model's answers with those of a parent, such as the aligned model that users know."""

from __future__ import annotations

from mergekit_calib.items.item_metrics.accuracies import correct
from mergekit_calib.items.metric_definition import MetricContext, metric
from mergekit_calib.items.table import ItemTable
from mergekit_calib.metrics import kl_divergence_statistic, mean_statistic
from mergekit_calib.metrics.statistic import Statistic


@metric(
    "kl",
    direction="minimize",
    meaning="Kullback-Leibler divergence over choices, KL(parent ‖ model), nats",
    needs_reference=True,
)
def kl(table: ItemTable, context: MetricContext) -> Statistic:
    """Return the mean divergence of the choices' probabilities from the parent's, in nats.

    It is 0 only if both are the same. Near 0 does not mean that quality is kept: it says nothing of which answers are
    correct, nor of texts that are not among the choices.
    """
    return kl_divergence_statistic(_reference(context).log_likelihoods, table.log_likelihoods)


@metric(
    "negative_flips",
    direction="minimize",
    meaning="share of items that the parent answers correctly and the model wrongly",
    most=1.0,
    needs_reference=True,
)
def negative_flips(table: ItemTable, context: MetricContext) -> Statistic:
    """Return the share of all items that the parent answers correctly and the model wrongly (Yan et al. 2021), 0 to 1.

    It is what users of the parent notice as a regression, even if accuracy as a whole rises.
    """
    return mean_statistic(correct(_reference(context)) & ~correct(table))


def _reference(context: MetricContext) -> ItemTable:
    if context.reference is None:
        raise ValueError("there is no other model to compare with")
    return context.reference
