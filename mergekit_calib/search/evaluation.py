"""What a search sees of a point: its objectives on the selection split, with paired resamples of its items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import metrics
from mergekit_calib.errors import CalibError
from mergekit_calib.items.metric_registry import Metric, pools_of
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable, pool
from mergekit_calib.results.frontier import Objective

_RESAMPLES = 200  # enough for a standard error; intervals and tests that are reported take their own


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A point's objectives on the selection split, or on as much of it as was scored.

    Attributes:
        values: (n_objectives,).
        replicates: (n_resamples, n_objectives) on resampled items; the same resamples for points of the same items.
    """

    values: NDArray[np.float64]
    replicates: NDArray[np.float64]


@dataclass(frozen=True)
class Evaluator:
    """Measures points for the search. The held-out split is for the report: nothing here looks at it.

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

    def measure(self, tables: Tables) -> Evaluation:
        """The objectives of the point that scored `tables`.

        Raises:
            CalibError: an objective cannot be computed, or has no items in the selection split.
        """
        columns = [self._bootstrapped(tables, objective) for objective in self.objectives]
        return Evaluation(np.array([c.value for c in columns]), np.column_stack([c.replicates for c in columns]))

    def _bootstrapped(self, tables: Tables, objective: Objective) -> metrics.BootstrapResult:
        statistics, sizes = [], []
        for some in self._groups(tables, objective):
            metric, pooled = self._taken(some, objective)
            parts = [split for split in (part.take(part.rows("selection")) for part in pooled) if len(split)]
            if not parts:
                raise CalibError(f"{objective.name}: none of its items is in the selection split")
            try:
                statistic = metric.statistic(pool(parts), self.n_bins)
            except ValueError as problem:
                raise CalibError(f"{objective.name} cannot be computed: {problem}") from problem
            if statistic is None:
                raise CalibError(f"{objective.name} is not defined for these answers in the selection split")
            statistics.append(statistic)
            sizes += [len(part) for part in parts]
        try:
            average = metrics.WeightedAverage(statistics, self._weights(tables, objective))
        except ValueError as problem:
            raise CalibError(f"{objective.name} cannot be computed: {problem}") from problem
        if not np.isfinite(value := average.value()):
            raise CalibError(f"{objective.name} is {value} in the selection split")
        return metrics.bootstrap({0: average}, _RESAMPLES, seed=self.seed, strata=sizes)[0]

    def _taken(self, tables: Sequence[ItemTable], objective: Objective) -> tuple[Metric, list[ItemTable]]:
        """The objective's metric, and those of the tables that it is taken of."""
        pools = pools_of(tables, self.higher_is_better.get(objective.scope, {}), self.known)
        for places, wanted in pools:
            if objective.metric in wanted:
                return wanted[objective.metric], [tables[i] for i in places]
        names = ", ".join(name for _, wanted in pools for name in wanted) or "none at all"
        raise CalibError(f"{objective.name}: the item scores give no {objective.metric}; they give {names}")

    def _groups(self, tables: Tables, objective: Objective) -> list[list[ItemTable]]:
        """The tables of which the metric is taken; several such groups where an average is taken of tasks."""
        if objective.task is not None:
            return [tables.get(objective.task, [])]
        if objective.average == "macro":
            return [tables[entry] for entry in self._entries(tables)]
        everything = [table for some in tables.values() for table in some]
        return [[table for table in everything if table.has_choices] or everything]

    def _weights(self, tables: Tables, objective: Objective) -> list[float]:
        if objective.average != "macro":
            return [1.0]
        return [objective.weights.get(e, 0.0 if objective.weights else 1.0) for e in self._entries(tables)]

    def _entries(self, tables: Tables) -> list[str]:
        """The suite's entries with choices; all of them, if none has any."""
        return [e for e, some in tables.items() if any(t.has_choices for t in some)] or list(tables)
