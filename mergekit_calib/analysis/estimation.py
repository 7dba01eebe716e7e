"""From item tables to bootstrapped metrics: every scope of a suite on one set of resamples of its items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import metrics
from mergekit_calib.errors import CalibError
from mergekit_calib.items.metric_registry import Metric, pools_of
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable, Split, pool
from mergekit_calib.metrics import BootstrapResult
from mergekit_calib.metrics.statistic import Statistic
from mergekit_calib.results.findings import MACRO, SUITE, Estimate

SPLITS: tuple[Split, ...] = ("all", "selection", "held_out")

Part = tuple[str, int]  # a suite entry, and which of its tasks
Measures = dict[str, dict[Split, dict[str, BootstrapResult]]]  # scope → split → metric
Accept = Callable[[ItemTable, Metric], bool]


class Taken(NamedTuple):
    """A metric's statistic, the parts that it is of, and the largest value that it can have."""

    statistic: Statistic
    parts: tuple[Part, ...]
    most: float


@dataclass
class Sampling:
    """The items of a suite, and the metrics of any model's scores of them.

    Each task's selection split and held-out split are resampled by themselves, once for all points, scopes and metrics:
    so results are paired across all three.

    Attributes:
        known: the metrics of items with choices.
        higher_is_better: suite entry → the directions of its tasks' own metrics.
        macro_weights: entry → weight of the macro average, alike where empty; None where none is wanted.
        level, n_resamples, n_bins, seed: of intervals and binned errors, as the `calibration:` block says.
    """

    known: Sequence[Metric]
    higher_is_better: Mapping[str, Mapping[str, bool]]
    macro_weights: Mapping[str, float] | None
    level: float
    n_resamples: int
    n_bins: int
    seed: int
    _resamples: metrics.Resamples | None = None
    _hashes: dict[str, list[list[str]]] = field(default_factory=dict)
    _columns: dict[tuple[Part, Split], NDArray[np.intp]] = field(default_factory=dict)

    def measure(
        self, tables: Tables, splits: Sequence[Split] = SPLITS, accept: Accept = lambda table, metric: True
    ) -> Measures:
        """Every metric of every scope: those of choices of the tables with choices, all others of the rest.

        Args:
            accept: a scope's table and a metric of it → whether it is wanted.

        Raises:
            CalibError: the items are not those of the first tables that were measured, or scores are unusable.
        """
        self._settle(tables)
        found: Measures = {}
        measured: dict[tuple[Part, ...], str] = {}
        for scope, parts in parts_of(tables).items():
            if (twin := measured.setdefault(tuple(parts), scope)) != scope:
                found[scope] = found[twin]
                continue
            found[scope] = {
                split: self._bootstrap(self._statistics(scope, parts, tables, split, accept), split) for split in splits
            }
        if self.macro_weights is not None:
            found[MACRO] = {
                split: self._bootstrap(self._averages(tables, split, accept, self.macro_weights), split)
                for split in splits
            }
        return found

    def estimates(self, measures: Measures, tables: Tables) -> dict[str, dict[str, dict[str, Estimate]]]:
        """Scope → metric → split → estimate."""
        places = self._places(tables)
        found: dict[str, dict[str, dict[str, Estimate]]] = {}
        for scope, splits in measures.items():
            found[scope] = {}
            for split, results in splits.items():
                for name, result in results.items():
                    n = len(self._items(places[scope][name], split))
                    found[scope].setdefault(name, {})[split] = estimate(result.value, result.low, result.high, n)
        return found

    def _statistics(
        self, scope: str, parts: Sequence[Part], tables: Tables, split: Split, accept: Accept
    ) -> dict[str, Taken]:
        found = {}
        for pooled, wanted in self._pools(scope, parts, tables):
            # In the order of the resamples' strata.
            taken = [tables[entry][i].take(tables[entry][i].rows(h)) for entry, i in pooled for h in _strata(split)]
            taken = [table for table in taken if len(table)]
            if not taken:
                continue
            table = pool(taken)
            for name, metric in wanted.items():
                try:
                    statistic = metric.statistic(table, self.n_bins) if accept(table, metric) else None
                except ValueError as problem:
                    raise CalibError(f"{scope}: {name} cannot be computed: {problem}") from problem
                if statistic is not None:
                    found[name] = Taken(statistic, pooled, metric.most)
        return found

    def _averages(self, tables: Tables, split: Split, accept: Accept, weights: Mapping[str, float]) -> dict[str, Taken]:
        parts, entries = parts_of(tables), averaged_entries(tables)
        each = [self._statistics(entry, parts[entry], tables, split, accept) for entry in entries]
        share = [weights.get(entry, 0.0 if weights else 1.0) for entry in entries]
        found = {}
        for name in (name for name in each[0] if all(name in some for some in each)):
            taken = [some[name] for some in each]
            average = metrics.WeightedAverage([one.statistic for one in taken], share)
            found[name] = Taken(average, sum((one.parts for one in taken), ()), max(one.most for one in taken))
        return found

    def _pools(
        self, scope: str, parts: Sequence[Part], tables: Tables
    ) -> list[tuple[tuple[Part, ...], dict[str, Metric]]]:
        """Which of a scope's parts are pooled, and the metrics that are taken of each pool."""
        some = [tables[entry][i] for entry, i in parts]
        pools = pools_of(some, self.higher_is_better.get(scope, {}), self.known)
        return [(tuple(parts[i] for i in places), wanted) for places, wanted in pools]

    def _places(self, tables: Tables) -> dict[str, dict[str, tuple[Part, ...]]]:
        """Scope → metric → the parts that it is taken of."""
        found = {
            scope: {name: pooled for pooled, wanted in self._pools(scope, parts, tables) for name in wanted}
            for scope, parts in parts_of(tables).items()
        }
        each = [found[entry] for entry in averaged_entries(tables)]
        shared = [name for name in each[0] if all(name in some for some in each)]
        found[MACRO] = {name: sum((some[name] for some in each), ()) for name in shared}
        return found

    def _bootstrap(self, taken: Mapping[str, Taken], split: Split) -> dict[str, BootstrapResult]:
        """Every statistic with its interval, cut off where the metric ends."""
        assert self._resamples is not None
        found = {}
        for parts in dict.fromkeys(one.parts for one in taken.values()):
            statistics = {name: one.statistic for name, one in taken.items() if one.parts == parts}
            for name, result in self._resamples.bootstrap(statistics, self._items(parts, split), self.level).items():
                found[name] = replace(result, high=min(result.high, taken[name].most))
        return found

    def _items(self, parts: Sequence[Part], split: Split) -> NDArray[np.intp]:
        return np.concatenate([self._columns[part, h] for part in parts for h in _strata(split)])

    def _settle(self, tables: Tables) -> None:
        """Lay out the items of the first tables; later ones must be of the same."""
        hashes = {entry: [table.doc_hashes for table in some] for entry, some in tables.items()}
        if self._resamples is None:
            strata, start = [], 0
            for part in [(entry, i) for entry, some in tables.items() for i in range(len(some))]:
                for split in _strata("all"):
                    size = int(tables[part[0]][part[1]].rows(split).sum())
                    self._columns[part, split] = np.arange(start, start + size)
                    strata.append(size)
                    start += size
            self._resamples = metrics.Resamples(strata, self.n_resamples, self.seed)
            self._hashes = hashes
        for entry in hashes.keys() | self._hashes.keys():
            if hashes.get(entry) != self._hashes.get(entry):
                raise CalibError(f"{entry}: its items are not those that the other points were scored on")


def scopes(tables: Tables) -> dict[str, list[ItemTable]]:
    """What metrics are taken of: each suite entry, and the suite's items with choices pooled (all, if none has any)."""
    return {scope: [tables[entry][i] for entry, i in parts] for scope, parts in parts_of(tables).items()}


def parts_of(tables: Tables) -> dict[str, list[Part]]:
    """`scopes`, as the places of the tables."""
    by_entry = {entry: [(entry, i) for i in range(len(some))] for entry, some in tables.items()}
    everything = [part for parts in by_entry.values() for part in parts]
    with_choices = [(entry, i) for entry, i in everything if tables[entry][i].has_choices]
    return {**by_entry, SUITE: with_choices or everything}


def averaged_entries(tables: Tables) -> list[str]:
    """The suite entries that a macro average is of: those with choices, or all, if none has any."""
    return list(dict.fromkeys(entry for entry, _ in parts_of(tables)[SUITE]))


def estimate(value: float, low: float, high: float, n: int) -> Estimate:
    """An estimate; what is not finite is None in it."""
    finite = [float(x) if np.isfinite(x) else None for x in (value, low, high)]
    return Estimate(value=finite[0], low=finite[1], high=finite[2], n=n)


def _strata(split: Split) -> tuple[Split, ...]:
    return ("selection", "held_out") if split == "all" else (split,)
