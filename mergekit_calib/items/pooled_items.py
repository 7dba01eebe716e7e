"""Items of several tasks put together, and the statistics of metrics over them, also of those that compare models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from mergekit_calib.errors import CalibError
from mergekit_calib.items.metric_definition import Metric, MetricContext
from mergekit_calib.items.scopes import Part, TaskKey
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable, pool
from mergekit_calib.metrics.statistic import Statistic

References = Mapping[str, Tables]  # role of a parent → its scores


@dataclass(frozen=True, eq=False)
class PooledItems:
    """One model's answers to items of one or several tasks, pooled.

    Attributes:
        parts: the items, at least one.
        references: the scores of the parents that metrics compare with, of these items at least.
        n_bins: the number of bins of binned calibration errors.
    """

    parts: Sequence[Part]
    references: References
    n_bins: int
    _of_roles: dict[str, ItemTable] = field(default_factory=dict)

    @cached_property
    def table(self) -> ItemTable:
        """The items in one table, in their order."""
        return pool([part for _, part in self.parts])

    @property
    def tasks(self) -> tuple[TaskKey, ...]:
        """The tasks that the items are from, each once."""
        return tuple(dict.fromkeys(key for key, _ in self.parts))

    def statistic(self, metric: Metric) -> Statistic | None:
        """Return a metric's statistic; None where it is not defined, or the parent that it needs is not scored yet.

        Raises:
            CalibError: the parent was scored on other items.
            ValueError: the metric cannot be computed.
        """
        role = metric.to
        if role is None:
            return metric.statistic(self.table, MetricContext(self.n_bins))
        if role not in self.references:
            return None
        if role not in self._of_roles:
            self._of_roles[role] = same_items(self.references[role], self.parts)
        return metric.statistic(self.table, MetricContext(self.n_bins, self._of_roles[role]))


def same_items(scores: Tables, parts: Sequence[Part]) -> ItemTable:
    """Return one model's scores of the items in `parts`, pooled in their order.

    Args:
        scores: the scores of a model that was scored on these items, and perhaps on more.
        parts: items of another model.

    Raises:
        CalibError: the model was not scored on one of the items.
    """
    of_task = {(entry, table.task): table for entry, some in scores.items() for table in some}
    matching = []
    for key, part in parts:
        row_of = {doc: row for row, doc in enumerate(of_task[key].doc_ids.tolist())} if key in of_task else {}
        rows = np.array([row_of.get(doc, -1) for doc in part.doc_ids.tolist()], dtype=np.intp)
        if (rows < 0).any() or [of_task[key].doc_hashes[row] for row in rows] != part.doc_hashes:
            raise CalibError(f"{key[1]}: the model to compare with was scored on other items")
        matching.append(_narrowed(of_task[key].take(rows), part.log_likelihoods.shape[1]))
    return pool(matching)


def _narrowed(table: ItemTable, width: int) -> ItemTable:
    """Return a table without the padding beyond `width` choices, which other items of the task had."""
    return replace(
        table,
        log_likelihoods=table.log_likelihoods[:, :width],
        labels=table.labels[:, :width],
        choice_chars=table.choice_chars[:, :width],
        choice_bytes=table.choice_bytes[:, :width],
    )
