"""The one registry of metrics: what sweeps, calibration cards and lm-eval's tasks can compute from item scores.

The metrics themselves are in `items.item_metrics`; a task's own metrics, and those of answers with a confidence, are
made here from the names of the numbers that the task gives each document.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection, Iterable

import numpy as np

from mergekit_calib.items import item_metrics
from mergekit_calib.items.metric_definition import Direction, Metric, MetricContext, StatisticFunction, metric
from mergekit_calib.items.table import ItemTable, confidence_table
from mergekit_calib.metrics import mean_of_some_statistic
from mergekit_calib.metrics.statistic import Statistic

__all__ = [
    "BUILT_IN",
    "IN_ORDER_OF_SUBJECTS",
    "LENGTHS",
    "Direction",
    "Metric",
    "MetricContext",
    "StatisticFunction",
    "metric",
    "metrics_of_votes",
    "own_metric",
    "with_references",
]


def _defined_metrics() -> tuple[Metric, ...]:
    """Return the metrics that the modules of `item_metrics` define, in order.

    Raises:
        ValueError: two metrics have one name.
    """
    by_name: dict[str, Metric] = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(item_metrics.__path__)):
        module = importlib.import_module(f"{item_metrics.__name__}.{name}")
        for value in vars(module).values():
            if isinstance(value, Metric) and by_name.setdefault(value.name, value) is not value:
                raise ValueError(f"{module.__name__} defines metric {value.name}, which another module defines already")
    return tuple(by_name.values())


IN_ORDER_OF_SUBJECTS = _defined_metrics()
"""The built-in metrics with those of one subject together, as cards show them."""

BUILT_IN = tuple(sorted(IN_ORDER_OF_SUBJECTS, key=lambda each: not each.always))
"""The built-in metrics as sweeps report them: first those that are computed for every point."""


def with_references(known: Iterable[Metric], wanted: Iterable[tuple[str, str | None]]) -> list[Metric]:
    """Return metrics in which each that needs a reference is replaced by one for each parent that it is compared with.

    Args:
        known: the metrics.
        wanted: pairs of a metric and the role of a parent, as objectives name them; None for no parent.

    Example:
        >>> [each.name for each in with_references(BUILT_IN, [("acc", None), ("kl", "aligned")]) if "kl" in each.name]
        ['kl_to_aligned']
    """
    pairs = list(wanted)
    metrics: list[Metric] = []
    for each in known:
        roles = dict.fromkeys(role for name, role in pairs if name == each.name and role is not None)
        metrics += [each.compared_with(role) for role in roles] if each.needs_reference else [each]
    return metrics


def metrics_of_votes(names: Collection[str], known: Iterable[Metric] = BUILT_IN) -> dict[str, Metric]:
    """Return the metrics of generated answers with a confidence, such as majorities of several draws.

    A task has them if it gives each document an `acc` (0 or 1) and a `confidence` (0 to 1).

    Args:
        names: names of the task's own metrics; `acc,filter` and `confidence,filter` where it reads answers in several
            ways, and then the metrics have names of that form too.
        known: the metrics to choose from.

    Returns:
        Name → metric.
    """
    suffixes = [name.removeprefix("confidence") for name in names if name.partition(",")[0] == "confidence"]
    votes = [_metric_of_votes(each, s) for s in suffixes if f"acc{s}" in names for each in known if each.of_confidences]
    return {each.name: each for each in votes}


def _metric_of_votes(of_answers: Metric, suffix: str) -> Metric:
    def statistic(table: ItemTable, context: MetricContext) -> Statistic | None:
        correct = table.values[f"acc{suffix}"] > 0.5
        return of_answers.statistic(confidence_table(table.values[f"confidence{suffix}"], correct), context)

    return Metric(
        name=f"{of_answers.name}{suffix}",
        direction=of_answers.direction,
        meaning=f"{of_answers.meaning}, of generated answers",
        statistic=statistic,
        of_probabilities=False,
        always=of_answers.always,
        most=of_answers.most,
        signed=of_answers.signed,
        options=of_answers.options,
    )


LENGTHS = {
    "tokens": "mean tokens generated for an answer",
    "cut_off": "share of answers that the limit of tokens cut off",
}
"""Values of the documents of every task that generates, in order → their meaning."""


def own_metric(name: str, higher_is_better: bool) -> Metric:
    """Return the mean of a metric that a task itself gives its documents, over the documents that have it."""

    def statistic(table: ItemTable, context: MetricContext) -> Statistic | None:
        if name not in table.values:  # an earlier version scored it, which did not store them
            return None
        given = ~np.isnan(table.values[name])
        return mean_of_some_statistic(table.values[name], given) if given.any() else None

    direction: Direction = "maximize" if higher_is_better else "minimize"
    return Metric(name, direction, LENGTHS.get(name, "the task's own"), statistic, of_probabilities=False)
