"""Bootstrapped metrics of item tables: every scope of a suite on one set of resamples of its items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import metrics
from mergekit_calib.errors import CalibError
from mergekit_calib.items.metric_registry import Metric
from mergekit_calib.items.pooled_items import PooledItems, References
from mergekit_calib.items.scopes import Pool, Scopes, TaskKey, describe_tables
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable, Split
from mergekit_calib.metrics import BootstrapResult
from mergekit_calib.metrics.statistic import Statistic
from mergekit_calib.results.findings import MACRO, Estimate

BOTH_SPLITS: tuple[Split, Split] = ("selection", "held_out")
SPLITS: tuple[Split, ...] = ("all", *BOTH_SPLITS)

Results = Mapping[str, BootstrapResult]  # name of a metric or an objective → result
ResultsByScope = dict[str, dict[Split, dict[str, BootstrapResult]]]  # scope → split → metric → result
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


@dataclass
class Estimator:
    """The metrics of any model's scores of one suite, with intervals over resampled items.

    Each task's selection split and held-out split are resampled separately, and only once: all points, scopes and
    metrics are computed on the same resamples, so their results are paired.

    Attributes:
        of_choices: the metrics of items with choices.
        macro_weights: suite entry → its weight in the macro average; empty for equal weights, None for no average.
        level: the confidence level of intervals.
        n_resamples: the number of resamples.
        n_bins: the number of bins of binned calibration errors.
        seed: the seed of the resamples.
        references: the scores of the parents that metrics compare with; such a metric is left out until they are known.
    """

    of_choices: Sequence[Metric]
    macro_weights: Mapping[str, float] | None
    level: float
    n_resamples: int
    n_bins: int
    seed: int
    references: References = field(default_factory=dict)
    _resamples: metrics.Resamples | None = None
    _hashes: dict[str, list[list[str]]] = field(default_factory=dict)
    _columns: dict[tuple[TaskKey, Split], NDArray[np.intp]] = field(default_factory=dict)

    def bootstrap(
        self, tables: Tables, splits: Sequence[Split] = SPLITS, wanted: MetricFilter = lambda table, metric: True
    ) -> ResultsByScope:
        """Return every metric of every scope, with its value on each resample.

        Args:
            tables: one model's scores.
            splits: the splits to compute the metrics on.
            wanted: returns whether to compute a metric of a table of pooled items.

        Raises:
            CalibError: the items are not those of the first model, or a metric cannot be computed.
        """
        scopes = self._scopes(tables)
        self._lay_out_items(tables)
        results: ResultsByScope = {scope: {} for scope in scopes.pools}
        if self.macro_weights is not None:
            results[MACRO] = {}
        for split in splits:
            statistics: dict[str, dict[str, ScopedStatistic]] = {}
            for scope, pools in scopes.pools.items():
                # The pools of `suite` are often those of its only entry; then the results are the same.
                same = next((s for s in statistics if _keys(scopes.pools[s]) == _keys(pools)), None)
                if same is not None:
                    statistics[scope], results[scope][split] = statistics[same], results[same][split]
                    continue
                statistics[scope] = self._statistics(scope, pools, tables, split, wanted)
                results[scope][split] = self._bootstrap(statistics[scope], split)
            if self.macro_weights is not None:
                averages = self._averages(scopes, statistics, self.macro_weights)
                results[MACRO][split] = self._bootstrap(averages, split)
        return results

    def estimates(self, results: ResultsByScope, tables: Tables) -> dict[str, dict[str, dict[str, Estimate]]]:
        """Return the estimates of `results`, by scope, metric and split.

        Args:
            results: as `bootstrap` returns them.
            tables: the scores that they were computed from.
        """
        scopes = self._scopes(tables)
        estimates: dict[str, dict[str, dict[str, Estimate]]] = {}
        for scope, splits in results.items():
            estimates[scope] = {}
            for split, of_split in splits.items():
                for name, result in of_split.items():
                    tasks = tuple(task.key for term in scopes.terms(scope, name) for task in term.pool.tasks)
                    n = len(self._items(tasks, split))
                    estimates[scope].setdefault(name, {})[split] = estimate(result.value, result.low, result.high, n)
        return estimates

    def _scopes(self, tables: Tables) -> Scopes:
        return Scopes(describe_tables(tables), self.of_choices)

    def _statistics(
        self, scope: str, pools: Sequence[Pool], tables: Tables, split: Split, wanted: MetricFilter
    ) -> dict[str, ScopedStatistic]:
        statistics = {}
        for each in pools:
            # The order is that of the strata in the resamples.
            parts = each.parts(tables, _strata(split))
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

    def _bootstrap(self, statistics: Mapping[str, ScopedStatistic], split: Split) -> dict[str, BootstrapResult]:
        """Return every statistic with its interval, whose upper end is at most the metric's largest value."""
        assert self._resamples is not None
        results = {}
        for tasks in dict.fromkeys(each.tasks for each in statistics.values()):
            of_tasks = {name: each.statistic for name, each in statistics.items() if each.tasks == tasks}
            drawn = self._resamples.bootstrap(of_tasks, self._items(tasks, split), self.level)
            for name, result in drawn.items():
                results[name] = replace(result, high=min(result.high, statistics[name].largest))
        return results

    def _items(self, tasks: Sequence[TaskKey], split: Split) -> NDArray[np.intp]:
        """Return the columns of the resamples that belong to the items of these tasks in `split`."""
        return np.concatenate([self._columns[task, stratum] for task in tasks for stratum in _strata(split)])

    def _lay_out_items(self, tables: Tables) -> None:
        """Assign the first model's items to columns of the resamples, or check that a later model has the same items.

        Raises:
            CalibError: it has other items.
        """
        hashes = {entry: [table.doc_hashes for table in some] for entry, some in tables.items()}
        if self._resamples is None:
            strata, start = [], 0
            for key, table in [((entry, table.task), table) for entry, some in tables.items() for table in some]:
                for split in _strata("all"):
                    size = int(table.rows(split).sum())
                    self._columns[key, split] = np.arange(start, start + size)
                    strata.append(size)
                    start += size
            self._resamples = metrics.Resamples(strata, self.n_resamples, self.seed)
            self._hashes = hashes
        for entry in hashes.keys() | self._hashes.keys():
            if hashes.get(entry) != self._hashes.get(entry):
                raise CalibError(f"{entry}: its items are not those that the other points were scored on")


def estimate(value: float, low: float, high: float, n: int) -> Estimate:
    """Return an estimate in which a number that is not finite is None."""
    finite = [float(x) if np.isfinite(x) else None for x in (value, low, high)]
    return Estimate(value=finite[0], low=finite[1], high=finite[2], n=n)


def _keys(pools: Sequence[Pool]) -> tuple[TaskKey, ...]:
    return tuple(task.key for each in pools for task in each.tasks)


def _strata(split: Split) -> tuple[Split, ...]:
    return BOTH_SPLITS if split == "all" else (split,)
