"""The metrics of an item table, by name, with their directions: what `objectives:` may name.

A metric here is a statistic of a table's rows, so that its interval and its paired differences come from resampling.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import metrics
from mergekit_calib.items.table import ItemTable
from mergekit_calib.metrics.statistic import Statistic

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class MetricContext:
    """What a metric may depend on besides the items themselves.

    Attributes:
        n_bins: the number of bins of binned calibration errors.
        reference: the scores of another model, such as a parent, on the same documents in the same order; None where
            there is no such model. For metrics that compare a model with another.
    """

    n_bins: int = 15
    reference: ItemTable | None = None


@dataclass(frozen=True)
class Metric:
    """A named number of an item table.

    Attributes:
        name: as recipes and reports write it.
        direction: which way is better.
        meaning: one line for reports.
        statistic: the table and the context → the statistic; None where it is not defined.
        of_probabilities: whether it follows from the choices' probabilities, so that an average of models has it too.
        always: whether a sweep takes it of every point, or only where an objective names it.
        most: the largest value that it can have.
        signed: whether it is best near 0, so that neither more nor less of it is better and no objective can name it.
    """

    name: str
    direction: Direction
    meaning: str
    statistic: Callable[[ItemTable, MetricContext], Statistic | None]
    of_probabilities: bool = True
    always: bool = True
    most: float = np.inf
    signed: bool = False


def correct(table: ItemTable) -> NDArray[np.bool_]:
    """(n_items,) whether the likeliest choice is right: lm-eval's `acc`."""
    return _chosen_is_right(table, table.log_likelihoods)


def correct_by_length(table: ItemTable) -> NDArray[np.bool_]:
    """(n_items,) whether the choice likeliest by character is right: lm-eval's `acc_norm`."""
    chars = np.where(table.choice_chars > 0, table.choice_chars, np.nan)
    return _chosen_is_right(table, table.log_likelihoods / chars)


def _chosen_is_right(table: ItemTable, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    chosen = np.where(np.isnan(scores), -np.inf, scores).argmax(axis=1)
    right: NDArray[np.bool_] = table.labels[np.arange(len(table)), chosen]
    return right


def _probabilistic(
    statistic: Callable[[NDArray[np.float64], NDArray[np.bool_]], Statistic],
) -> Callable[[ItemTable, MetricContext], Statistic]:
    return lambda table, _: statistic(table.probabilities, table.labels)


def _auroc(table: ItemTable, _: MetricContext) -> Statistic | None:
    if metrics.accuracy(table.probabilities, table.labels) in (0.0, 1.0):
        return None
    return metrics.auroc_statistic(table.probabilities, table.labels)


def _ece(**options: Any) -> Callable[[ItemTable, MetricContext], Statistic]:
    return lambda t, context: metrics.expected_calibration_error_statistic(
        t.probabilities, t.labels, n_bins=context.n_bins, **options
    )


BUILT_IN = (
    Metric("acc", "maximize", "accuracy", lambda t, _: metrics.mean_statistic(correct(t)), most=1.0),
    Metric(
        "acc_norm",
        "maximize",
        "accuracy by length",
        lambda t, _: metrics.mean_statistic(correct_by_length(t)),
        of_probabilities=False,
        most=1.0,
    ),
    Metric("ece", "minimize", "expected calibration error, equal-width bins, L1", _ece(), most=1.0),
    Metric(
        "rms_ce_debiased",
        "minimize",
        "root-mean-square calibration error, debiased (Kumar et al. 2019)",
        _ece(norm="l2", debias=True),
        most=1.0,
    ),
    Metric("brier", "minimize", "Brier score over all choices", _probabilistic(metrics.brier_statistic), most=2.0),
    Metric("nll", "minimize", "negative log-likelihood, nats", _probabilistic(metrics.nll_statistic)),
    Metric(
        "overconfidence",
        "minimize",
        "mean confidence minus accuracy, signed",
        _probabilistic(metrics.overconfidence_statistic),
        most=1.0,
        signed=True,
    ),
    Metric(
        "ece_mass",
        "minimize",
        "expected calibration error, bins of equally many items, L1",
        _ece(binning="mass"),
        always=False,
        most=1.0,
    ),
    Metric("rms_ce", "minimize", "root-mean-square calibration error", _ece(norm="l2"), always=False, most=1.0),
    Metric(
        "smooth_ece",
        "minimize",
        "calibration error, smoothed instead of binned (Błasiok and Nakkiran 2023)",
        _probabilistic(metrics.smooth_ece_statistic),
        always=False,
        most=1.0,
    ),
    Metric(
        "auroc",
        "maximize",
        "how well confidence tells right answers from wrong ones",
        _auroc,
        always=False,
        most=1.0,
    ),
    Metric(
        "aurc",
        "minimize",
        "error averaged over coverages, the most confident answered first",
        _probabilistic(metrics.area_under_risk_coverage_statistic),
        always=False,
        most=1.0,
    ),
)


def _error_of_votes(filter_: str, norm: Literal["l1", "l2"], debias: bool) -> Callable[[ItemTable, MetricContext], Statistic]:
    def statistic(table: ItemTable, context: MetricContext) -> Statistic:
        confidence, right = table.values[f"confidence{filter_}"], table.values[f"acc{filter_}"] > 0.5
        return metrics.expected_calibration_error_statistic(confidence, right, context.n_bins, norm=norm, debias=debias)

    return statistic


def metrics_of_votes(names: Collection[str]) -> dict[str, Metric]:
    """The calibration errors of generated answers, where a task gives each document an `acc` and a `confidence`.

    Args:
        names: of the task's own metrics; `acc,filter` and `confidence,filter` where it reads answers in several ways.
    """
    found = {}
    for filter_ in [name.removeprefix("confidence") for name in names if name.partition(",")[0] == "confidence"]:
        if f"acc{filter_}" in names:
            ece, rms = _error_of_votes(filter_, "l1", False), _error_of_votes(filter_, "l2", True)
            for metric in (
                Metric(f"ece{filter_}", "minimize", "expected calibration error of majorities", ece, False, most=1.0),
                Metric(
                    f"rms_ce_debiased{filter_}",
                    "minimize",
                    "as ece, root of the mean square, debiased",
                    rms,
                    False,
                    most=1.0,
                ),
            ):
                found[metric.name] = metric
    return found


def metrics_of(
    table: ItemTable, higher_is_better: Mapping[str, bool], known: Iterable[Metric] = BUILT_IN
) -> dict[str, Metric]:
    """Every metric that `table` yields: the known ones where it has choices, and its task's own, which take precedence.

    Args:
        higher_is_better: the directions of the task's own metrics, as lm-eval states them.
    """
    found = {metric.name: metric for metric in known} if table.has_choices else metrics_of_votes(table.values)
    return found | {name: own_metric(name, higher_is_better.get(name, True)) for name in table.values}


def own_metric(name: str, higher_is_better: bool) -> Metric:
    """The mean of a metric that the task defines itself, over the documents that it gives one."""

    def statistic(table: ItemTable, _: MetricContext) -> Statistic | None:
        given = ~np.isnan(table.values[name])
        return metrics.mean_of_some_statistic(table.values[name], given) if given.any() else None

    return Metric(
        name, "maximize" if higher_is_better else "minimize", "the task's own", statistic, of_probabilities=False
    )
