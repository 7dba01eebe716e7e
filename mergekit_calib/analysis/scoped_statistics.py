"""The statistics of a suite's scores, scope by scope, before they are resampled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mergekit_calib import metrics
from mergekit_calib.errors import CalibError
from mergekit_calib.items.metric_registry import Direction, Metric
from mergekit_calib.items.pooled_items import PooledItems, References
from mergekit_calib.items.scopes import Pool, Scopes, TaskKey, describe_tables
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable, Split
from mergekit_calib.metrics.statistic import Statistic
from mergekit_calib.results.findings import MACRO, SUITE, WORST, Objective

BOTH_SPLITS: tuple[Split, Split] = ("selection", "held_out")
SPLITS: tuple[Split, ...] = ("all", *BOTH_SPLITS)

MetricFilter = Callable[[ItemTable, Metric], bool]


class ScopedStatistic(NamedTuple):
    """The statistic of a metric in one scope, and the tasks whose items it is computed from.

    Attributes:
        statistic: a statistic of the items of `tasks`, in their order.
        tasks: the tasks.
        largest: the largest value that the metric can have.
    """

    statistic: Statistic
    tasks: tuple[TaskKey, ...]
    largest: float


@dataclass(frozen=True)
class SuiteStatistics:
    """The metrics of any model's scores of one suite, as statistics of its items.

    Attributes:
        of_choices: the metrics of items with choices.
        macro_weights: suite entry → its weight in the macro average; empty for equal weights, None for no average.
        n_bins: the number of bins of binned calibration errors.
        references: the scores of the parents that metrics compare with; such a metric is left out until they are known.
        worst: the metrics whose worst value over tasks is computed → which way is better.
    """

    of_choices: Sequence[Metric]
    macro_weights: Mapping[str, float] | None
    n_bins: int
    references: References
    worst: Mapping[str, Direction] = field(default_factory=dict)

    def scopes(self, tables: Tables) -> Scopes:
        """Return the scopes of the suite that `tables` are the scores of."""
        return Scopes(describe_tables(tables), self.of_choices)

    def by_scope(self, tables: Tables, split: Split, wanted: MetricFilter) -> dict[str, dict[str, ScopedStatistic]]:
        """Return scope → metric → statistic on `split`; one dictionary for scopes with the same pools.

        Args:
            tables: one model's scores.
            split: the split to compute the metrics on.
            wanted: returns whether to compute a metric of a table of pooled items.

        Raises:
            CalibError: a metric cannot be computed.
        """
        scopes = self.scopes(tables)
        statistics: dict[str, dict[str, ScopedStatistic]] = {}
        for scope, pools in scopes.pools.items():
            same = next((s for s in statistics if _keys(scopes.pools[s]) == _keys(pools)), None)
            statistics[scope] = statistics[same] if same else self._statistics(scope, pools, tables, split, wanted)
        if self.macro_weights is not None:
            statistics[MACRO] = self._averages(scopes, statistics, self.macro_weights)
        if self.worst:
            statistics[WORST] = self._worst_of_tasks(scopes, tables, split, wanted)
        return statistics

    def values(
        self, tables: Tables, objectives: Sequence[Objective], split: Split, wanted: MetricFilter
    ) -> dict[str, float]:
        """Return objective name → its value on `split`, without resampling; without those that are not defined.

        Args:
            tables: one model's scores.
            objectives: the objectives.
            split: the split to compute them on.
            wanted: returns whether to compute a metric of a table of pooled items.

        Raises:
            CalibError: a metric cannot be computed.
        """
        statistics = self.by_scope(tables, split, wanted)
        found = {o.name: statistics.get(o.scope, {}).get(o.key) for o in objectives}
        return {name: scoped.statistic.value() for name, scoped in found.items() if scoped is not None}

    def choices_of_suite(self, tables: Tables, split: Split) -> PooledItems | None:
        """Return the items with choices of all tasks in `split`, pooled; None if there are none."""
        pools = [each for each in self.scopes(tables).pools[SUITE] if each.tasks[0].has_choices]
        parts = pools[0].parts(tables, strata(split)) if pools else []
        return PooledItems(parts, self.references, self.n_bins) if parts else None

    def _statistics(
        self, scope: str, pools: Sequence[Pool], tables: Tables, split: Split, wanted: MetricFilter
    ) -> dict[str, ScopedStatistic]:
        statistics = {}
        for each in pools:
            # The order is that of the strata in the resamples.
            parts = each.parts(tables, strata(split))
            if not parts:
                continue
            keys, items = _keys([each]), PooledItems(parts, self.references, self.n_bins)
            for name, metric in each.metrics.items():
                if not wanted(items.table, metric):
                    continue
                try:
                    statistic = items.statistic(metric)
                except ValueError as problem:
                    raise CalibError(f"{scope}: {name} cannot be computed: {problem}") from problem
                if statistic is not None:
                    statistics[name] = ScopedStatistic(statistic, keys, metric.most)
        return statistics

    def _worst_of_tasks(
        self, scopes: Scopes, tables: Tables, split: Split, wanted: MetricFilter
    ) -> dict[str, ScopedStatistic]:
        """Return the worst task's value of the metrics in `worst` that every task has in this split."""
        found: dict[str, ScopedStatistic] = {}
        for name in (name for name in self.worst if name in scopes.metrics(WORST)):
            terms = scopes.terms(WORST, name)
            of_tasks = [self._statistics(WORST, [term.pool], tables, split, _only(name, wanted)) for term in terms]
            parts = [of_task[name] for of_task in of_tasks if name in of_task]
            if len(parts) == len(terms):
                worst = metrics.WorstOf([part.statistic for part in parts], self.worst[name] == "minimize")
                tasks = tuple(key for part in parts for key in part.tasks)
                found[name] = ScopedStatistic(worst, tasks, max(part.largest for part in parts))
        return found

    def _averages(
        self,
        scopes: Scopes,
        statistics: Mapping[str, Mapping[str, ScopedStatistic]],
        weights: Mapping[str, float],
    ) -> dict[str, ScopedStatistic]:
        """Return the macro averages of the metrics that every averaged entry has."""
        averages = {}
        for name in scopes.metrics(MACRO):
            terms = scopes.terms(MACRO, name, weights)
            if not all(name in statistics[term.scope] for term in terms):
                continue
            parts = [statistics[term.scope][name] for term in terms]
            average = metrics.WeightedAverage([part.statistic for part in parts], [term.weight for term in terms])
            tasks = tuple(key for part in parts for key in part.tasks)
            averages[name] = ScopedStatistic(average, tasks, max(part.largest for part in parts))
        return averages


def _only(name: str, wanted: MetricFilter) -> MetricFilter:
    return lambda table, metric: metric.name == name and wanted(table, metric)


def _keys(pools: Sequence[Pool]) -> tuple[TaskKey, ...]:
    return tuple(task.key for each in pools for task in each.tasks)


def strata(split: Split) -> tuple[Split, ...]:
    """Return the strata that a split is resampled in."""
    return BOTH_SPLITS if split == "all" else (split,)
