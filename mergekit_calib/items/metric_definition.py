"""The definition of a metric of item scores, and the decorator that makes a function a metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mergekit_calib.items.table import ItemTable
from mergekit_calib.metrics.statistic import Statistic

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class MetricContext:
    """The inputs of a metric besides the items themselves.

    Attributes:
        n_bins: the number of bins of binned calibration errors.
        reference: the scores of another model, such as a parent, on the same documents in the same order; None where
            there is no such model. For metrics that compare a model with another.
    """

    n_bins: int = 15
    reference: ItemTable | None = None


StatisticFunction = Callable[[ItemTable, MetricContext], Statistic | None]


@dataclass(frozen=True)
class Metric:
    """A named number of an item table. Its statistic can be resampled, so it has intervals and paired differences.

    Attributes:
        name: the name in recipes, in an lm-eval task's `metric_list`, and in reports.
        direction: which way is better.
        meaning: one line for reports.
        statistic: the table and the context → the statistic of the table's items; None where it is not defined.
        of_probabilities: whether it is computed from the choices' probabilities alone. If so, averages of models and
            lm-eval's tasks have it too.
        always: whether a sweep computes it for every point; if not, only where an objective names it.
        most: the largest value that it can have.
        signed: whether it is best near 0, so that neither more nor less of it is better and no objective can name it.
        of_confidences: whether it is also defined for answers that have a confidence instead of choices; see
            `items.table.ConfidenceTable`.
        options: the fields of `MetricContext` that it reads and that an lm-eval task may set in its `metric_list`.
    """

    name: str
    direction: Direction
    meaning: str
    statistic: StatisticFunction
    of_probabilities: bool = True
    always: bool = True
    most: float = np.inf
    signed: bool = False
    of_confidences: bool = False
    options: tuple[str, ...] = ()


def metric(
    name: str,
    *,
    direction: Direction,
    meaning: str,
    of_probabilities: bool = True,
    always: bool = True,
    most: float = np.inf,
    signed: bool = False,
    of_confidences: bool = False,
    options: tuple[str, ...] = (),
) -> Callable[[StatisticFunction], Metric]:
    """Make the decorated function, `(table, context) → statistic`, a metric.

    In a module of `items.item_metrics` that is all it takes to add a metric. A plugin returns its metrics from the hook
    `calib_metrics`. The arguments are those of `Metric`.

    Example:
        >>> from mergekit_calib.metrics import mean_statistic
        >>> @metric("n_choices", direction="minimize", meaning="number of choices")
        ... def n_choices(table, context):
        ...     return mean_statistic((table.probabilities >= 0).sum(axis=1))
        >>> n_choices.name
        'n_choices'
    """

    def decorate(statistic: StatisticFunction) -> Metric:
        return Metric(
            name, direction, meaning, statistic, of_probabilities, always, most, signed, of_confidences, options
        )

    return decorate
