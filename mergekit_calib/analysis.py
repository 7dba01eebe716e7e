"""From item tables to the numbers of a frontier: estimates, paired differences, tests, and the choice.

Points are compared on the same resamples of the same items. They are chosen on the selection half and quoted, compared
and tested on the report half (DESIGN: choosing the best of many on the items it is reported on flatters it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mergekit_calib import metrics, pareto, plugins
from mergekit_calib.errors import CalibError
from mergekit_calib.frontier import (
    SUITE,
    Difference,
    Estimate,
    Objective,
    PointResult,
    Reliability,
    Selection,
    Superiority,
)
from mergekit_calib.items import Half, ItemTable, pool
from mergekit_calib.metrics import BootstrapResult
from mergekit_calib.objectives import Metric, metrics_of
from mergekit_calib.search.store import Tables

HALVES: tuple[Half, ...] = ("all", "selection", "report")


@dataclass
class Analysis:
    """The statistics of one sweep.

    Attributes:
        objectives: what is traded off.
        known: the metrics of items with choices.
        higher_is_better: suite entry → the directions of its tasks' own metrics.
        level, n_resamples, n_bins, seed: of intervals and binned errors, as the `calibration:` block says.
    """

    objectives: Sequence[Objective]
    known: Sequence[Metric]
    higher_is_better: Mapping[str, Mapping[str, bool]]
    level: float
    n_resamples: int
    n_bins: int
    seed: int
    _replicates: dict[str, dict[str, BootstrapResult]] = field(default_factory=dict)
    _items: dict[str, list[str]] = field(default_factory=dict)

    def add(self, point: PointResult, tables: Tables) -> None:
        """Fill in the point's metrics, and keep what comparing it needs.

        Raises:
            CalibError: its items are not those of the points before it, or its scores are unusable.
        """
        for scope, parts in scopes(tables).items():
            self._check_same_items(scope, parts)
            point.metrics[scope] = {}
            for half in HALVES:
                for name, result in self._bootstrap(scope, parts, half).items():
                    point.metrics[scope].setdefault(name, {})[half] = _estimate(result, parts, half)
                    for objective in self.objectives:
                        if half == "report" and (objective.scope, objective.metric) == (scope, name):
                            self._replicates.setdefault(point.id, {})[objective.name] = result

    def share(self, point: PointResult, twin: PointResult) -> None:
        """Give a point the numbers of one whose weights came out identical."""
        point.metrics, point.same_as = twin.metrics, twin.id
        if twin.id in self._replicates:
            self._replicates[point.id] = self._replicates[twin.id]

    def conclude(self, points: Sequence[PointResult], rule: str, options: Mapping[str, Any]) -> Selection | None:
        """Mark the frontier, compare every point with the parents, and choose; None while nothing was scored."""
        scored = [p for p in points if p.status == "complete" and self._is_whole(p)]
        for point in points:
            point.selected, point.on_frontier, point.superiority, point.differences = False, {}, None, {}
        if not scored:
            return None
        directions = [o.direction for o in self.objectives]
        for half in HALVES:
            values = np.array([[self._value(p, o, half) for o in self.objectives] for p in scored])
            for point, on_it in zip(scored, pareto.non_dominated(values, directions), strict=True):
                point.on_frontier[half] = bool(on_it)
        self._compare(scored)
        candidates = pareto.Candidates(
            ids=tuple(p.id for p in scored),
            objectives=tuple(o.name for o in self.objectives),
            directions=tuple(directions),
            values=np.array([[self._value(p, o, "selection") for o in self.objectives] for p in scored]),
            parents=tuple(p.id for p in scored if p.role),
        )
        choice = pareto.select(rule, candidates, options, plugins.selection_rules())
        next(p for p in scored if p.id == choice.id).selected = True
        return Selection(rule=rule, point=choice.id, reason=choice.reason)

    def _compare(self, points: Sequence[PointResult]) -> None:
        """Paired differences to the parents on the report half, and the test of superiority over both."""
        parents = [p for p in points if p.role]
        others = [p for p in points if not p.role]
        if len(parents) < 2 or not others:
            return
        shape = (len(others), len(parents), len(self.objectives))
        replicates = np.empty((*shape, self.n_resamples))
        observed = np.empty(shape)
        intervals = {}
        for i, point in enumerate(others):
            for j, parent in enumerate(parents):
                for k, objective in enumerate(self.objectives):
                    mine, theirs = (self._replicates[p.id][objective.name] for p in (point, parent))
                    replicates[i, j, k] = mine.replicates - theirs.replicates
                    observed[i, j, k] = mine.value - theirs.value
                    intervals[i, j, k] = metrics.interval(replicates[i, j, k], self.level)
        directions = [o.direction for o in self.objectives]
        p_values = pareto.gain_p_values(replicates, directions, observed)
        for (i, j, k), (low, high) in intervals.items():
            point, parent, objective = others[i], parents[j], self.objectives[k]
            assert parent.role is not None
            point.differences.setdefault(parent.role, {})[objective.name] = Difference(
                value=observed[i, j, k], low=low, high=high, n=point.estimate(objective).n, p=p_values[i, j, k]
            )
        tests = pareto.superiority(replicates, directions, observed=observed, level=self.level)
        for point, test in zip(others, tests, strict=True):
            point.superiority = Superiority(shown=test.shown, p=test.p, p_adjusted=test.p_adjusted)

    def _bootstrap(self, scope: str, parts: Sequence[ItemTable], half: Half) -> dict[str, BootstrapResult]:
        taken = [part.take(part.rows(half)) for part in parts]
        taken = [part for part in taken if len(part)]
        if not taken:
            return {}
        table = pool(taken)
        wanted = metrics_of(table, self.higher_is_better.get(scope, {}), self.known)
        statistics = {}
        for name, metric in wanted.items():
            try:
                statistics[name] = metric.statistic(table, self.n_bins)
            except ValueError as problem:
                raise CalibError(f"{scope}: {name} cannot be computed: {problem}") from problem
        return metrics.bootstrap(
            statistics, self.n_resamples, self.level, seed=self.seed, strata=[len(part) for part in taken]
        )

    def _check_same_items(self, scope: str, parts: Sequence[ItemTable]) -> None:
        hashes = [h for part in parts for h in part.doc_hashes]
        if self._items.setdefault(scope, hashes) != hashes:
            raise CalibError(f"{scope}: its items are not those that the other points were scored on")

    def _value(self, point: PointResult, objective: Objective, half: Half) -> float:
        value = point.estimate(objective, half).value
        return np.nan if value is None else value

    def _is_whole(self, point: PointResult) -> bool:
        return all(point.estimate(o, half).value is not None for o in self.objectives for half in HALVES)


def scopes(tables: Tables) -> dict[str, list[ItemTable]]:
    """What metrics are taken of: each suite entry, and the suite's items with choices pooled (all, if none has any)."""
    everything = [table for some in tables.values() for table in some]
    with_choices = [table for table in everything if table.has_choices]
    return {**tables, SUITE: with_choices or everything}


def reliability_diagram(tables: Tables, n_bins: int) -> Reliability | None:
    """Confidence against accuracy on the report half of the pooled items; None without items with choices."""
    parts = [t.take(t.rows("report")) for t in scopes(tables)[SUITE] if t.has_choices]
    parts = [part for part in parts if len(part)]
    if not parts:
        return None
    table = pool(parts)
    confidence = np.nanmax(table.probabilities, axis=1)
    right = table.gold[np.arange(len(table)), np.nanargmax(table.probabilities, axis=1)]
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    # A confidence of exactly 1 has a bin of its own in the metrics; in a picture it belongs to the last.
    index = np.minimum(metrics.bin_index(confidence, n_bins, "width"), n_bins - 1)
    counts = np.bincount(index, minlength=n_bins)

    def mean_in_bins(values: Any) -> list[float | None]:
        sums = np.bincount(index, weights=values, minlength=n_bins)
        return [float(s / c) if c else None for s, c in zip(sums, counts, strict=True)]

    return Reliability(
        edges=edges.tolist(), counts=counts.tolist(), confidence=mean_in_bins(confidence), accuracy=mean_in_bins(right)
    )


def _estimate(result: BootstrapResult, parts: Sequence[ItemTable], half: Half) -> Estimate:
    n = sum(int(part.rows(half).sum()) for part in parts)
    finite = [float(x) if np.isfinite(x) else None for x in (result.value, result.low, result.high)]
    return Estimate(value=finite[0], low=finite[1], high=finite[2], n=n)
