"""The statistics of one sweep: what every point scored, how it compares with the parents, and which is chosen.

Points are compared on the same resamples of the same items. They are chosen on the selection split and quoted, compared
and tested on the held-out split: choosing the best of many on the items it is reported on flatters it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import pareto, plugins
from mergekit_calib.analysis import baselines, extrapolation, frontier_uncertainty, paired
from mergekit_calib.analysis.estimation import SPLITS, Measures, Sampling
from mergekit_calib.analysis.paired import Results
from mergekit_calib.errors import CalibError
from mergekit_calib.items.metric_registry import Metric
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import Split
from mergekit_calib.results.findings import SUITE, BothSplits, Difference, Estimate
from mergekit_calib.results.frontier import Frontier, Objective, PointResult, Selection, Superiority

MOST_CHOICES = 200
"""In how many resamples the rule is run; a third party's may be slow."""


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
    _results: dict[str, dict[Split, Results]] = field(default_factory=dict)
    _tables: dict[str, Tables] = field(default_factory=dict)
    _measures: dict[str, dict[str, Results]] = field(default_factory=dict)  # point → scope → metric, held-out split

    def __post_init__(self) -> None:
        named = {o.metric for o in self.objectives}
        macro = [o.weights for o in self.objectives if o.average == "macro"]
        self._sampling = Sampling(
            known=[metric for metric in self.known if metric.always or metric.name in named],
            higher_is_better=self.higher_is_better,
            macro_weights=macro[0] if macro else None,
            level=self.level,
            n_resamples=self.n_resamples,
            n_bins=self.n_bins,
            seed=self.seed,
        )

    def add(self, point: PointResult, tables: Tables) -> None:
        """Fill in the point's metrics, and keep what comparing it needs.

        Raises:
            CalibError: its items are not those of the points before it, or an objective cannot be computed from its
                scores.
        """
        measures = self._sampling.measure(tables)
        _check_numbers(measures, self.objectives)
        point.metrics = self._sampling.estimates(measures, tables)
        self._results[point.id] = {split: paired.of_objectives(measures, self.objectives, split) for split in SPLITS}
        self._tables[point.id] = tables
        self._measures[point.id] = {scope: splits["held_out"] for scope, splits in measures.items()}

    def share(self, point: PointResult, twin: PointResult) -> None:
        """Give a point the numbers of one whose weights came out identical."""
        point.metrics, point.same_as = twin.metrics, twin.id
        if twin.id in self._results:
            self._results[point.id], self._tables[point.id] = self._results[twin.id], self._tables[twin.id]
            self._measures[point.id] = self._measures[twin.id]

    def conclude(self, points: Sequence[PointResult], rule: str, options: Mapping[str, Any]) -> Selection | None:
        """Mark the frontier, compare every point with the parents, and choose; None while nothing was scored."""
        scored = self._scored(points)
        for point in points:
            point.selected, point.on_frontier, point.superiority, point.differences = False, {}, None, {}
            point.frontier_probability, point.recovered = None, {}
        if not scored:
            return None
        directions = [o.direction for o in self.objectives]
        for split in SPLITS:
            values = np.array([[self._value(p, o, split) for o in self.objectives] for p in scored])
            for point, on_it in zip(scored, pareto.non_dominated(values, directions), strict=True):
                point.on_frontier[split] = bool(on_it)
        self._compare(scored)
        selection = self._choose(scored, "selection", rule, options)
        next(p for p in scored if p.id == selection.point).selected = True
        return selection

    def finish(self, frontier: Frontier, rule: str, options: Mapping[str, Any]) -> None:
        """What is asked once, of all points: baselines, both splits, the frontier's own uncertainty, amplification."""
        scored, selected = self._scored(frontier.points), frontier.selected
        if not scored or selected is None:
            return
        self._compare_every_metric(scored)
        self._recover(scored)
        report = {p.id: self._results[p.id]["held_out"] for p in scored}
        parents: dict[str, str] = {p.role: p.id for p in scored if p.role}
        frontier.baselines = baselines.baselines(
            self._sampling, self.objectives, self._tables, report, parents, selected.id, _counts(selected, self)
        )
        are_named = any(not (entry.n_selection and entry.n_held_out) for entry in frontier.suite)
        frontier.splits = self._both_halves(scored, rule, options, self._apart(scored) if are_named else {})
        for point, share in zip(
            scored,
            frontier_uncertainty.frontier_probabilities([report[p.id] for p in scored], self.objectives),
            strict=True,
        ):
            point.frontier_probability = share
        frontier.chance = frontier_uncertainty.frontier_chance(
            report, list(parents.values()), self.objectives, self.level, selected.estimate(self.objectives[0]).n
        )
        if list(frontier.axes) == ["lambda"]:
            along = {float(p.axes["lambda"]): report[p.id] for p in scored if "lambda" in p.axes}
            frontier.trends = extrapolation.trends(along, self.objectives, self.level)
            frontier.optima = extrapolation.optima(along, self.objectives, self.level)

    def _choose(self, scored: Sequence[PointResult], split: Split, rule: str, options: Mapping[str, Any]) -> Selection:
        values = np.array([[self._value(p, o, split) for o in self.objectives] for p in scored])
        choice = self._choice(scored, values, rule, options)
        return Selection(rule=rule, point=choice.id, reason=choice.reason)

    def _choice(
        self, scored: Sequence[PointResult], values: NDArray[np.float64], rule: str, options: Mapping[str, Any]
    ) -> pareto.Choice:
        candidates = pareto.Candidates(
            ids=tuple(p.id for p in scored),
            objectives=tuple(o.name for o in self.objectives),
            directions=tuple(o.direction for o in self.objectives),
            values=values,
            parents=tuple(p.id for p in scored if p.role),
        )
        return pareto.select(rule, candidates, options, plugins.selection_rules())

    def _chosen_in(self, scored: Sequence[PointResult], rule: str, options: Mapping[str, Any]) -> dict[str, float]:
        """Point id → the share of the first resamples of the selection split in which it is chosen."""
        drawn = paired.centred([self._results[p.id]["selection"] for p in scored], self.objectives)
        usable = np.flatnonzero(np.isfinite(drawn).all(axis=(0, 1)))[:MOST_CHOICES]
        chosen = Counter(self._choice(scored, drawn[:, :, r], rule, options).id for r in usable)
        return {point: count / len(usable) for point, count in chosen.most_common()}

    def _both_halves(
        self,
        scored: Sequence[PointResult],
        rule: str,
        options: Mapping[str, Any],
        apart: dict[str, Difference],
    ) -> BothSplits:
        """Both directions: each split's choice, and what it scores on the other."""
        pairs: tuple[tuple[Split, Split], ...] = (("selection", "held_out"), ("held_out", "selection"))
        choices: dict[str, Selection] = {split: self._choose(scored, split, rule, options) for split, _ in pairs}
        points = {split: next(p for p in scored if p.id == choices[split].point) for split, _ in pairs}
        elsewhere: dict[str, dict[str, Estimate]] = {
            split: {o.name: points[split].estimate(o, other) for o in self.objectives} for split, other in pairs
        }
        mine, theirs = points["selection"], points["held_out"]
        differences: dict[str, dict[str, Difference]] = {}
        if mine is not theirs:
            for split, _ in pairs:
                differences[split] = paired.differences(
                    self._results[mine.id][split],
                    self._results[theirs.id][split],
                    self.objectives,
                    self.level,
                    _counts(mine, self, split),
                )
        chosen_in = self._chosen_in(scored, rule, options)
        return BothSplits(
            choices=choices, elsewhere=elsewhere, differences=differences, chosen_in=chosen_in, apart=apart
        )

    def _apart(self, scored: Sequence[PointResult]) -> dict[str, Difference]:
        """How differently the parents compare on the two splits, as where one of them was tuned on the items of one."""
        parents = {p.role: self._results[p.id] for p in scored if p.role}
        if len(parents) < 2:
            return {}
        level = 1.0 - (1.0 - self.level) / len(self.objectives)
        splits: tuple[Split, Split] = ("selection", "held_out")
        there, here = (paired.changes(parents["base"][split], parents["aligned"][split]) for split in splits)
        n = {o.name: sum(scored[0].estimate(o, split).n for split in splits) for o in self.objectives}
        return paired.differences(there, here, self.objectives, level, n)

    def _compare(self, points: Sequence[PointResult]) -> None:
        """Paired differences to the parents on the held-out split, and the test of superiority over both."""
        parents = [p for p in points if p.role]
        others = [p for p in points if not p.role]
        if len(parents) < 2 or not others:
            return
        results = {p.id: self._results[p.id]["held_out"] for p in points}
        for point in others:
            for parent in parents:
                assert parent.role is not None
                point.differences[parent.role] = paired.differences(
                    results[point.id], results[parent.id], self.objectives, self.level, _counts(point, self)
                )
        mine, theirs = [results[p.id] for p in others], [results[p.id] for p in parents]
        drawn = paired.replicates(mine, self.objectives)[:, None] - paired.replicates(theirs, self.objectives)
        observed = paired.values(mine, self.objectives)[:, None] - paired.values(theirs, self.objectives)
        directions = [o.direction for o in self.objectives]
        tests = pareto.superiority(drawn, directions, observed=observed, level=self.level)
        for point, test in zip(others, tests, strict=True):
            point.superiority = Superiority(shown=test.shown, p=test.p, p_adjusted=test.p_adjusted)

    def _compare_every_metric(self, points: Sequence[PointResult]) -> None:
        """Paired differences to the parents in the metrics that are no objectives too, named as if they were."""
        parents = [p for p in points if p.role]
        for point in points if len(parents) == 2 else []:
            for parent in parents if not point.role else []:
                assert parent.role is not None
                found = paired.plain_differences(
                    self._measures[point.id], self._measures[parent.id], point.metrics, self.level
                )
                point.differences[parent.role] = found | point.differences.get(parent.role, {})

    def _recover(self, points: Sequence[PointResult]) -> None:
        """What each point gives back of what lies between the parents, in the objectives and the pooled metrics."""
        results = {p.id: {**self._measures[p.id].get(SUITE, {}), **self._results[p.id]["held_out"]} for p in points}
        parents = {p.role: results[p.id] for p in points if p.role}
        for point in points if len(parents) == 2 else []:
            pooled = point.metrics.get(SUITE, {})
            n = {metric: splits["held_out"].n for metric, splits in pooled.items()} | _counts(point, self)
            point.recovered = paired.shares_recovered(
                results[point.id], parents["base"], parents["aligned"], self.level, n
            )

    def _scored(self, points: Sequence[PointResult]) -> list[PointResult]:
        whole = [
            all(p.estimate(o, split).value is not None for o in self.objectives for split in SPLITS) for p in points
        ]
        return [p for p, is_whole in zip(points, whole, strict=True) if p.status == "complete" and is_whole]

    def _value(self, point: PointResult, objective: Objective, split: Split) -> float:
        value = point.estimate(objective, split).value
        return np.nan if value is None else value


def _check_numbers(measures: Measures, objectives: Sequence[Objective]) -> None:
    """That every objective is a number on both splits: a point without one can be neither chosen nor reported.

    Raises:
        CalibError: naming the objective and the split.
    """
    splits: tuple[Split, Split] = ("selection", "held_out")
    for split in splits:
        results = paired.of_objectives(measures, objectives, split)
        for objective in objectives:
            if objective.name not in results:
                raise CalibError(f"{objective.name} is not defined for these answers in the {split} split")
            if not np.isfinite(value := results[objective.name].value):
                raise CalibError(f"{objective.name} is {value} in the {split} split")


def _counts(point: PointResult, analysis: Analysis, split: Split = "held_out") -> dict[str, int]:
    return {o.name: point.estimate(o, split).n for o in analysis.objectives}
