"""What a search sees of a point: its objectives on the selection half, with paired resamples of its items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import metrics
from mergekit_calib.errors import CalibError
from mergekit_calib.frontier import Objective
from mergekit_calib.items import ItemTable, pool
from mergekit_calib.metrics.statistic import Resampled
from mergekit_calib.objectives import Metric, metrics_of
from mergekit_calib.search.store import Tables

_RESAMPLES = 200  # enough for a standard error; intervals and tests that are reported take their own


@dataclass(frozen=True, eq=False)
class Measured:
    """A point's objectives on the selection half, or on as much of it as was scored.

    Attributes:
        values: (n_objectives,).
        replicates: (n_resamples, n_objectives) on resampled items; the same resamples for points of the same items.
    """

    values: NDArray[np.float64]
    replicates: NDArray[np.float64]


@dataclass(frozen=True)
class Ruler:
    """Measures points for the search. The report half is for the report: nothing here looks at it.

    Attributes:
        objectives: what is traded off.
        known: the metrics of items with choices.
        higher_is_better: suite entry → the directions of its tasks' own metrics.
        n_bins, seed: of binned errors and of the resamples.
    """

    objectives: Sequence[Objective]
    known: Sequence[Metric]
    higher_is_better: Mapping[str, Mapping[str, bool]]
    n_bins: int
    seed: int

    @property
    def signs(self) -> NDArray[np.float64]:
        """(n_objectives,) 1 where more is better, −1 where less is."""
        return np.array([1.0 if o.direction == "maximize" else -1.0 for o in self.objectives])

    def measure(self, tables: Tables) -> Measured:
        """The objectives of the point that scored `tables`.

        Raises:
            CalibError: an objective cannot be computed, or has no items in the selection half.
        """
        columns = []
        for objective in self.objectives:
            groups = [
                [half for half in (part.take(part.rows("selection")) for part in parts) if len(half)]
                for parts in self._groups(tables, objective)
            ]
            if not all(groups):
                raise CalibError(f"{objective.name}: none of its items is in the selection half")
            try:
                statistics = [self._statistic(pool(parts), objective) for parts in groups]
                statistic = metrics.WeightedAverage(statistics, self._weights(tables, objective))
            except ValueError as problem:
                raise CalibError(f"{objective.name} cannot be computed: {problem}") from problem
            if np.isnan(statistic.value()):
                raise CalibError(f"{objective.name} is not a number")
            sizes = [len(part) for parts in groups for part in parts]
            columns.append(metrics.bootstrap({0: statistic}, _RESAMPLES, seed=self.seed, strata=sizes)[0])
        return Measured(np.array([c.value for c in columns]), np.column_stack([c.replicates for c in columns]))

    def _statistic(self, table: ItemTable, objective: Objective) -> Resampled:
        wanted = metrics_of(table, self.higher_is_better.get(objective.scope, {}), self.known)
        statistic = wanted[objective.metric].statistic(table, self.n_bins)
        if statistic is None:
            raise ValueError("it is not defined for these answers")
        return statistic

    def _groups(self, tables: Tables, objective: Objective) -> list[list[ItemTable]]:
        """The tables that are pooled; several such pools where an average is taken of tasks."""
        if objective.task is not None:
            return [tables[objective.task]]
        scored = [tables[entry] for entry in self._entries(tables)]
        return scored if objective.average == "macro" else [[table for some in scored for table in some]]

    def _weights(self, tables: Tables, objective: Objective) -> list[float]:
        if objective.average != "macro":
            return [1.0]
        return [objective.weights.get(e, 0.0 if objective.weights else 1.0) for e in self._entries(tables)]

    def _entries(self, tables: Tables) -> list[str]:
        """The suite's entries with choices; all of them, if none has any."""
        return [e for e, some in tables.items() if all(t.has_choices for t in some)] or list(tables)
