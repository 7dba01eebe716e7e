"""Bootstrapped metrics of item tables: every scope of a suite on one set of resamples of its items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import metrics
from mergekit_calib.analysis.scoped_statistics import SPLITS, MetricFilter, ScopedStatistic, SuiteStatistics, strata
from mergekit_calib.errors import CalibError
from mergekit_calib.items.metric_registry import Direction, Metric
from mergekit_calib.items.pooled_items import References
from mergekit_calib.items.scopes import TaskKey
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import Split
from mergekit_calib.metrics import BootstrapResult
from mergekit_calib.results.findings import Estimate

Results = Mapping[str, BootstrapResult]  # name of a metric or an objective → result
ResultsByScope = dict[str, dict[Split, dict[str, BootstrapResult]]]  # scope → split → metric → result
Key = TypeVar("Key")


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
        worst: the metrics whose worst value over tasks is computed → which way is better.
    """

    of_choices: Sequence[Metric]
    macro_weights: Mapping[str, float] | None
    level: float
    n_resamples: int
    n_bins: int
    seed: int
    references: References = field(default_factory=dict)
    worst: Mapping[str, Direction] = field(default_factory=dict)
    _resamples: metrics.Resamples | None = None
    _hashes: dict[str, list[list[str]]] = field(default_factory=dict)
    _columns: dict[tuple[TaskKey, Split], NDArray[np.intp]] = field(default_factory=dict)

    @cached_property
    def statistics(self) -> SuiteStatistics:
        """The metrics before they are resampled."""
        return SuiteStatistics(self.of_choices, self.macro_weights, self.n_bins, self.references, self.worst)

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
        self.lay_out_items(tables)
        results: ResultsByScope = {}
        for split in splits:
            statistics = self.statistics.by_scope(tables, split, wanted)
            for scope, of_scope in statistics.items():
                # The pools of `suite` are often those of its only entry; then the results are the same.
                same = next((s for s in results if statistics[s] is of_scope and split in results[s]), None)
                drawn = results[same][split] if same else self._bootstrap(of_scope, split)
                results.setdefault(scope, {})[split] = drawn
        return results

    def estimates(self, results: ResultsByScope, tables: Tables) -> dict[str, dict[str, dict[str, Estimate]]]:
        """Return the estimates of `results`, by scope, metric and split.

        Args:
            results: as `bootstrap` returns them.
            tables: the scores that they were computed from.
        """
        scopes = self.statistics.scopes(tables)
        estimates: dict[str, dict[str, dict[str, Estimate]]] = {}
        for scope, splits in results.items():
            estimates[scope] = {}
            for split, of_split in splits.items():
                for name, result in of_split.items():
                    tasks = tuple(task.key for term in scopes.terms(scope, name) for task in term.pool.tasks)
                    n = len(self._items(tasks, split))
                    estimates[scope].setdefault(name, {})[split] = estimate(result.value, result.low, result.high, n)
        return estimates

    def estimates_of(self, statistics: Mapping[Key, ScopedStatistic], split: Split) -> dict[Key, Estimate]:
        """Return estimates of statistics on the resamples of all other results.

        Args:
            statistics: name → statistic of items in `split` of a model that `bootstrap` was called with.
            split: the split.
        """
        results = self._bootstrap(statistics, split)
        n = {tasks: len(self._items(tasks, split)) for tasks in {each.tasks for each in statistics.values()}}
        return {name: estimate(r.value, r.low, r.high, n[statistics[name].tasks]) for name, r in results.items()}

    def _bootstrap(self, statistics: Mapping[Key, ScopedStatistic], split: Split) -> dict[Key, BootstrapResult]:
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
        return np.concatenate([self._columns[task, stratum] for task in tasks for stratum in strata(split)])

    def lay_out_items(self, tables: Tables) -> None:
        """Assign the first model's items to columns of the resamples, or check that a later model has the same items.

        Raises:
            CalibError: it has other items.
        """
        hashes = {entry: [table.doc_hashes for table in some] for entry, some in tables.items()}
        if self._resamples is None:
            sizes, start = [], 0
            for key, table in [((entry, table.task), table) for entry, some in tables.items() for table in some]:
                for split in strata("all"):
                    size = int(table.rows(split).sum())
                    self._columns[key, split] = np.arange(start, start + size)
                    sizes.append(size)
                    start += size
            self._resamples = metrics.Resamples(sizes, self.n_resamples, self.seed)
            self._hashes = hashes
        for entry in hashes.keys() | self._hashes.keys():
            if hashes.get(entry) != self._hashes.get(entry):
                raise CalibError(f"{entry}: its items are not those that the other points were scored on")


def estimate(value: float, low: float, high: float, n: int) -> Estimate:
    """Return an estimate in which a number that is not finite is None."""
    finite = [float(x) if np.isfinite(x) else None for x in (value, low, high)]
    return Estimate(value=finite[0], low=finite[1], high=finite[2], n=n)
