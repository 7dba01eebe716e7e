"""A point's objectives on the selection split, as a search compares them, with paired resamples of the items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import metrics
from mergekit_calib.errors import CalibError
from mergekit_calib.items.metric_registry import Metric, with_references
from mergekit_calib.items.pooled_items import PooledItems
from mergekit_calib.items.scopes import Scopes, describe_tables
from mergekit_calib.items.store import Tables
from mergekit_calib.results.findings import WORST
from mergekit_calib.results.frontier import Objective

_RESAMPLES = 200  # enough for a standard error; intervals and tests that are reported have their own number


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A point's objectives on the selection split, or on as much of it as was scored.

    Attributes:
        values: (n_objectives,).
        replicates: (n_resamples, n_objectives) on resampled items; the resamples are the same for points that
            scored the same items.
    """

    values: NDArray[np.float64]
    replicates: NDArray[np.float64]


@dataclass(frozen=True)
class Evaluator:
    """Evaluates points for the search, on the selection split alone: the held-out split is for the report.

    Attributes:
        objectives: what the search optimises.
        of_choices: the metrics of items with choices.
        n_bins: number of bins of the binned calibration errors.
        seed: the seed of the resamples.
        references: role of a parent → its scores; to be filled with those of `missing_references` as they are scored.
    """

    objectives: Sequence[Objective]
    of_choices: Sequence[Metric]
    n_bins: int
    seed: int
    references: dict[str, Tables] = field(default_factory=dict)

    @property
    def missing_references(self) -> set[str]:
        """The roles of the parents that an objective compares with, and whose scores are not known yet."""
        return {o.to for o in self.objectives if o.to is not None} - self.references.keys()

    @property
    def signs(self) -> NDArray[np.float64]:
        """(n_objectives,) 1 where more is better, −1 where less is."""
        return np.array([1.0 if o.direction == "maximize" else -1.0 for o in self.objectives])

    def evaluate(self, tables: Tables) -> Evaluation:
        """Return the objectives of the point that scored `tables`.

        Raises:
            CalibError: an objective cannot be computed, has no items in the selection split, or compares with a parent
                whose scores are missing.
        """
        named = [(o.metric, o.to) for o in self.objectives]
        scopes = Scopes(describe_tables(tables), with_references(self.of_choices, named))
        columns = [self._resampled(scopes, tables, objective) for objective in self.objectives]
        return Evaluation(np.array([value for value, _ in columns]), np.column_stack([drawn for _, drawn in columns]))

    def _resampled(self, scopes: Scopes, tables: Tables, objective: Objective) -> tuple[float, NDArray[np.float64]]:
        """Return an objective, and its numbers on the resamples."""
        available = scopes.metrics(objective.scope)
        if objective.key not in available:
            names = ", ".join(available) or "none"
            raise CalibError(f"{objective.name}: the item scores have no metric {objective.key!r}; they have {names}")
        if objective.to in self.missing_references:
            raise CalibError(f"{objective.name} cannot be computed: {objective.to} is not scored")
        terms = scopes.terms(objective.scope, objective.key, objective.weights)
        statistics, sizes = [], []
        for term in terms:
            parts = term.pool.parts(tables, ["selection"])
            if not parts:
                raise CalibError(f"{objective.name}: none of its items is in the selection split")
            metric = term.pool.metrics[objective.key]
            try:
                statistic = PooledItems(parts, self.references, self.n_bins).statistic(metric)
            except ValueError as problem:
                raise CalibError(f"{objective.name} cannot be computed: {problem}") from problem
            if statistic is None:
                raise CalibError(f"{objective.name} is not defined for these answers in the selection split")
            statistics.append(statistic)
            sizes += [len(part) for _, part in parts]
        try:
            average: metrics.Statistic
            if objective.scope == WORST:
                average = metrics.WorstOf(statistics, objective.direction == "minimize")
            else:
                average = metrics.WeightedAverage(statistics, [term.weight for term in terms])
        except ValueError as problem:
            raise CalibError(f"{objective.name} cannot be computed: {problem}") from problem
        if not np.isfinite(value := average.value()):
            raise CalibError(f"{objective.name} is {value} in the selection split")
        return value, _resamples(tuple(sizes), self.seed).replicates({0: average})[0]


@lru_cache(maxsize=16)  # every point has the same items, and strategies evaluate hundreds of predicted ones
def _resamples(strata: tuple[int, ...], seed: int) -> metrics.Resamples:
    return metrics.Resamples(strata, _RESAMPLES, seed)
