"""The definition of a metric of item scores, and the decorator that makes a function a metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mergekit_calib.items.table import ItemTable
from mergekit_calib.metrics.statistic import Statistic
from mergekit_calib.results.names import metric_key

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class MetricContext:
    """The inputs of a metric besides the items themselves.

    Attributes:
        n_bins: the number of bins of binned calibration errors.
        reference: a parent's scores of the same documents in the same order, for a metric that needs a reference;
            None for other metrics.
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
        needs_reference: whether it compares a model with a parent, `context.reference`. An objective names that parent,
            as in `{metric: kl, to: aligned}`. Cards and lm-eval's tasks, which have one model at a time, leave it out.
        to: the role of the parent that it compares with; None until `compared_with` says which.
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
    needs_reference: bool = False
    to: str | None = None

    @property
    def lacks_reference(self) -> bool:
        """Whether it needs a reference, and it is not said which: then it cannot be computed."""
        return self.needs_reference and self.to is None

    def compared_with(self, role: str) -> Metric:
        """Return the metric with the parent of that role as its reference, named as `kl_to_aligned`."""
        meaning = f"{self.meaning}, compared with {role}"
        return replace(self, name=metric_key(self.name, role), meaning=meaning, always=True, to=role)


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
    needs_reference: bool = False,
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
            name,
            direction,
            meaning,
            statistic,
            of_probabilities,
            always and not needs_reference,
            most,
            signed,
            of_confidences,
            options,
            needs_reference,
        )

    return decorate
