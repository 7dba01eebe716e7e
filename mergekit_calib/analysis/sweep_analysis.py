"""The statistics of one sweep: the estimates of each point, its comparison with the parents, and the choice.

Points are compared on the same resamples of the same items. On the items that a point was chosen on, its estimates are
too good. So a point is chosen on the selection split, and its numbers are quoted from the held-out split; or it is
chosen on all items, and cross-fitting estimates what the rule's choice is worth.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.special import ndtri

from mergekit_calib import pareto
from mergekit_calib.analysis import extrapolation, frontier_uncertainty, paired
from mergekit_calib.analysis.baselines import BaselineComputer, blend_curve, blend_lambdas
from mergekit_calib.analysis.changes import changes_against
from mergekit_calib.analysis.choices import RULE_SCORES, Chooser, item_counts, objective_values
from mergekit_calib.analysis.cross_fitting import cross_fit
from mergekit_calib.analysis.estimation import Estimator, Results, ResultsByScope
from mergekit_calib.analysis.predicted_choice import ItemScoreChooser
from mergekit_calib.analysis.predicted_curve import predicted_curve
from mergekit_calib.analysis.scoped_statistics import BOTH_SPLITS, SPLITS
from mergekit_calib.errors import CalibError
from mergekit_calib.items.metric_registry import Direction, Metric, with_references
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import Split
from mergekit_calib.results.baseline_findings import Blend
from mergekit_calib.results.findings import SUITE, WORST, Difference, Estimate
from mergekit_calib.results.frontier import Frontier, Objective, PointResult, Selection, Superiority
from mergekit_calib.results.prediction_findings import PredictedCurve

_POWER = 0.8
SEED_OF_RESAMPLES = 0
"""The seed of the resamples of every sweep, so that no p-value depends on a number in the recipe."""


@dataclass(frozen=True)
class _PointScores:
    """The scores and results of a point, kept to compare it with others.

    Attributes:
        tables: its item scores.
        objectives: split → objective name → result.
        for_choice: split → results of everything that the choice of a point looks at; see `Chooser.results_of`.
        metrics: scope → metric → result, on the held-out split.
    """

    tables: Tables
    objectives: Mapping[Split, Results]
    for_choice: Mapping[Split, Results]
    metrics: Mapping[str, Results]


@dataclass
class SweepAnalysis:
    """The statistics of one sweep, whose points are added one after another.

    Attributes:
        objectives: the metrics that are traded off.
        of_choices: the metrics of items with choices; those not marked `always` are computed only as objectives.
        level: the confidence level of intervals; 1 − level is the level of the superiority test.
        n_resamples: the number of resamples.
        n_bins: the number of bins of binned calibration errors.
        seed: the seed of the resamples.
        references: role → scores, of the parents that objectives compare with.
        choose_on: the items that a point is chosen on: the selection split, or all. A choice on all is steadier. What
            it gains is then estimated by cross-fitting.
    """

    objectives: Sequence[Objective]
    of_choices: Sequence[Metric]
    level: float
    n_resamples: int
    n_bins: int
    seed: int
    references: Mapping[str, Tables] = field(default_factory=dict)
    choose_on: Split = "selection"
    _points: dict[str, _PointScores] = field(default_factory=dict)
    _blends: dict[str, Blend | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = {
            o.metric.partition(",")[0] for o in self.objectives
        }  # `ece,filter` is `ece` of the answers that a filter extracts
        known = with_references(self.of_choices, [(o.metric, o.to) for o in self.objectives])
        macro = [o.weights for o in self.objectives if o.average == "macro"]
        self._estimator = Estimator(
            of_choices=[metric for metric in known if metric.always or metric.name in named],
            macro_weights=macro[0] if macro else None,
            level=self.level,
            n_resamples=self.n_resamples,
            n_bins=self.n_bins,
            seed=self.seed,
            references=self.references,
            worst=_metrics_of_worst(self.objectives),
        )

    def add(self, point: PointResult, tables: Tables) -> None:
        """Fill in a point's metrics, and keep its results to compare it with others.

        Raises:
            CalibError: its items are not those of the points before it, or an objective cannot be computed from its
                scores.
        """
        results = self._estimator.bootstrap(tables)
        _check_objectives(results, self.objectives)
        point.metrics = self._estimator.estimates(results, tables)
        by_split = {split: paired.of_objectives(results, self.objectives, split) for split in SPLITS}
        self._points[point.id] = _PointScores(
            tables,
            by_split,
            self.chooser().results_of(results),
            {scope: of["held_out"] for scope, of in results.items()},
        )

    def measure(self, tables: Tables) -> tuple[dict[str, dict[str, dict[str, Estimate]]], Results]:
        """Return a model's estimates by scope, metric and split, and its objectives on the held-out split.

        The model does not become a point of the sweep.

        Args:
            tables: its scores.

        Raises:
            CalibError: as `add`.
        """
        results = self._estimator.bootstrap(tables)
        _check_objectives(results, self.objectives)
        return self._estimator.estimates(results, tables), paired.of_objectives(results, self.objectives, "held_out")

    def estimates_of(
        self, tables: Tables, metrics: Collection[str], splits: Sequence[Split] = SPLITS, macro: bool = False
    ) -> dict[str, dict[str, dict[str, Estimate]]]:
        """Return the estimates of some metrics of a model's scores, by scope, metric and split.

        Args:
            tables: the scores.
            metrics: the names of the metrics, among `of_choices` and the tasks' own.
            splits: the splits to compute them on.
            macro: whether to compute the average over the suite's entries too, with the objectives' weights.
        """
        self._estimator.lay_out_items(tables)  # so that the items are resampled once for all models
        weights = (self._estimator.macro_weights or {}) if macro else None
        estimator = replace(self._estimator, of_choices=self.of_choices, macro_weights=weights)
        results = estimator.bootstrap(tables, splits, wanted=lambda table, metric: metric.name in metrics)
        return estimator.estimates(results, tables)

    def chooser(self, rule: str = pareto.DEFAULT_RULE, options: Mapping[str, Any] = MappingProxyType({})) -> Chooser:
        """Return a selection rule, ready to choose among points of this sweep.

        Args:
            rule: the rule's name.
            options: the rule's options.
        """
        return Chooser(self.objectives, rule, options, frozenset(metric.name for metric in self.of_choices))

    def copy_results(self, point: PointResult, twin: PointResult) -> None:
        """Give a point the numbers of another one with identical weights."""
        point.metrics, point.same_as = twin.metrics, twin.id
        if twin.id in self._points:
            self._points[point.id] = self._points[twin.id]

    def tables_of(self, points: Sequence[str]) -> dict[str, Tables]:
        """Return point id → the item scores of those of these points that were added."""
        return {point: self._points[point].tables for point in points if point in self._points}

    def conclude(self, points: Sequence[PointResult], rule: str, options: Mapping[str, Any]) -> Selection | None:
        """Mark the frontier, compare every point with the parents, and choose one.

        Args:
            points: all points so far; conclusions from an earlier call are replaced.
            rule: the selection rule's name.
            options: the rule's options.

        Returns:
            The choice; None if no point is scored yet.
        """
        scored = self._scored(points)
        for point in points:
            point.selected, point.on_frontier, point.superiority, point.differences = False, {}, None, {}
            point.frontier_probability, point.recovered, point.dominated_by = None, {}, {}
        if not scored:
            return None
        directions = [o.direction for o in self.objectives]
        for split in SPLITS:
            values = objective_values(scored, self.objectives, split)
            for point, on_frontier in zip(scored, pareto.non_dominated(values, directions), strict=True):
                point.on_frontier[split] = bool(on_frontier)
        chooser, results = self.chooser(rule, options), self._for_choice(scored)
        for split in SPLITS:
            dominated_by = chooser.dominated_by(scored, results, split)
            for point in scored:
                point.dominated_by[split] = dominated_by[point.id]
        self._compare(points)
        selection = chooser.choose(scored, results, self.choose_on)
        next(p for p in scored if p.id == selection.point).selected = True
        return selection

    def select(self, points: Sequence[PointResult], point_id: str) -> bool:
        """Mark another point as the chosen one, after `conclude`; return whether it is there and scored.

        Args:
            points: all points so far.
            point_id: the id of the point.
        """
        scored = self._scored(points)
        if all(point.id != point_id for point in scored):
            return False
        for point in scored:
            point.selected = point.id == point_id
        return True

    def finish(self, frontier: Frontier, rule: str, options: Mapping[str, Any]) -> None:
        """Fill in what needs all points: baselines, both splits, the frontier's uncertainty, trends along λ.

        Args:
            frontier: the result with all points, after `conclude`.
            rule: the selection rule's name.
            options: the rule's options.
        """
        scored, selected = self._scored(frontier.points), frontier.selected
        if not scored or selected is None:
            return
        self._compare_every_metric(scored)
        self._fill_in_recovered(scored)
        held_out = {p.id: self._points[p.id].objectives["held_out"] for p in scored}
        parents: dict[str, str] = {str(p.role): p.id for p in frontier.parents if p.id in held_out}
        chooser, results = self.chooser(rule, options), self._for_choice(scored)
        self._fill_in_changes(scored)
        splits_are_named = any(not (entry.n_selection and entry.n_held_out) for entry in frontier.suite)
        frontier.rule_scores = chooser.rule_scores(scored, results, self.choose_on)
        frontier.detectable = self._detectable(scored)
        frontier.splits = chooser.both_splits(
            scored,
            results,
            self.level,
            self._difference_in_differences(scored) if splits_are_named else {},
            chooser.shares(scored, results, self.choose_on),
        )
        tables = {p.id: self._points[p.id].tables for p in scored}
        of_split = {split: frontier.splits.choices[split].point for split in BOTH_SPLITS}
        chosen_on_all = self.choose_on == "all"
        computer = BaselineComputer(self._estimator, chooser, tables, parents, blend_lambdas(frontier.axes))
        frontier.baselines = computer.compute(selected.id, of_split if chosen_on_all else None)
        if chosen_on_all:
            frontier.cross_fitted = cross_fit(
                self._estimator,
                self.objectives,
                of_split,
                tables,
                {str(p.role): self._points[p.id].objectives["all"] for p in frontier.parents if p.id in held_out},
            )
        probabilities = frontier_uncertainty.frontier_probabilities([held_out[p.id] for p in scored], self.objectives)
        for point, probability in zip(scored, probabilities, strict=True):
            point.frontier_probability = probability
        frontier.uncertainty = frontier_uncertainty.hypervolume_and_attainment(
            held_out, list(parents.values()), self.objectives, self.level, selected.estimate(self.objectives[0]).n
        )
        if list(frontier.axes) == ["lambda"]:
            along = {float(p.axes["lambda"]): held_out[p.id] for p in scored if "lambda" in p.axes}
            if any(p.role == "aligned" and p.axes == {"lambda": 1.0} for p in scored):
                frontier.trends = extrapolation.trends(along, self.objectives, self.level)
            frontier.optima = extrapolation.optima(along, self.objectives, self.level)

    def blends(self, frontier: Frontier) -> list[Blend]:
        """Return the curves of blended log-probabilities, of the first parent with each other one that is scored."""
        base, *others = [p.id if p and p.id in self._points else None for p in map(frontier.parent, frontier.models)]
        for other in others:
            if base and other and other not in self._blends:
                first, second = ((point, self._points[point].tables) for point in (base, other))
                lambdas = blend_lambdas(frontier.axes)
                self._blends[other] = blend_curve(self._estimator, self.objectives, first, second, lambdas)
        return [curve for other in others if other and (curve := self._blends.get(other)) is not None]

    def predicted(self, frontier: Frontier, nodes: Sequence[str], known: bool, went_on: bool) -> PredictedCurve | None:
        """Return the metrics along the sweep's one axis, predicted from some of its points.

        Args:
            frontier: the result with all points.
            nodes: the ids of the points to predict from, in the order of `predicted_curve`.
            known: as `predicted_curve` takes it.
            went_on: as `predicted_curve` takes it.
        """
        (axis,) = frontier.axes
        on_axis = [p for p in frontier.complete_points if axis in p.axes and p.id in self._points]
        points = {p.id: (float(p.axes[axis]), self._points[p.id].tables) for p in on_axis}
        return predicted_curve(
            self._estimator, axis, points, [node for node in nodes if node in points], known, went_on
        )

    def item_score_chooser(self, rule: str, options: Mapping[str, Any]) -> ItemScoreChooser:
        """Return the rule, ready to choose among item scores as this sweep does, and as its two splits do."""
        splits: Sequence[Split] = SPLITS if self.choose_on == "all" else [self.choose_on]
        return ItemScoreChooser(self._estimator, self.chooser(rule, options), splits)

    def _fill_in_changes(self, scored: Sequence[PointResult]) -> None:
        """Fill in how the answers of each point differ from each parent's."""
        for parent in (p for p in scored if p.role):
            others = {p.id: self._points[p.id].tables for p in scored if p is not parent}
            of_points = changes_against(self._estimator, self._points[parent.id].tables, others)
            for point in (p for p in scored if p.id in of_points):
                point.changes[str(parent.role)] = of_points[point.id]

    def _difference_in_differences(self, scored: Sequence[PointResult]) -> dict[str, Difference]:
        """Return objective name → aligned minus base on the selection split, minus the same on the held-out split."""
        parents = {p.role: self._points[p.id].objectives for p in scored if p.role}
        if parents.keys() != {"base", "aligned"}:
            return {}
        level = 1.0 - (1.0 - self.level) / len(self.objectives)
        on_selection, on_held_out = (
            paired.changes(parents["base"][split], parents["aligned"][split]) for split in BOTH_SPLITS
        )
        n = {o.name: sum(scored[0].estimate(o, split).n for split in BOTH_SPLITS) for o in self.objectives}
        return paired.differences(on_selection, on_held_out, self.objectives, level, n)

    def _detectable(self, scored: Sequence[PointResult]) -> dict[str, float | None]:
        """Return objective → the smallest true difference that shows with 80 % probability.

        The items are those that the choice's gains are quoted from: the held-out split, or all if it is cross-fitted.

        It is computed from the median standard error of the differences between points and parents, as if it were
        normal.
        """
        quoted_from: Split = "all" if self.choose_on == "all" else "held_out"
        results = [self._points[p.id].objectives[quoted_from] for p in scored]
        errors = paired.standard_errors(results, self.objectives)
        is_parent = np.array([p.role is not None for p in scored])
        of_pairs = errors[~is_parent][:, is_parent] if is_parent.any() and not is_parent.all() else errors[:0]
        factor = ndtri((1.0 + self.level) / 2.0) + ndtri(_POWER)
        usual = [
            float(factor * np.median(of_pairs[..., k])) if of_pairs.size else np.nan for k in range(errors.shape[2])
        ]
        return {
            o.name: value if np.isfinite(value) and value > 0 else None
            for o, value in zip(self.objectives, usual, strict=True)
        }

    def _compare(self, points: Sequence[PointResult]) -> None:
        """Fill in paired differences to the parents on the held-out split, and the test of superiority over them all.

        There is no test while a parent is not scored.
        """
        scored = self._scored(points)
        parents = [p for p in scored if p.role]
        others = [p for p in scored if not p.role]
        results = {p.id: self._points[p.id].objectives["held_out"] for p in scored}
        for point, parent in self._against_parents(scored):
            n = item_counts(point, self.objectives)
            pair = results[point.id], results[parent.id]
            point.differences[str(parent.role)] = paired.differences(*pair, self.objectives, self.level, n)
        if not parents or not others or any(p.role and p not in parents for p in points):
            return
        mine, theirs = [results[p.id] for p in others], [results[p.id] for p in parents]
        tests = pareto.superiority(paired.gain_p_values(mine, theirs, self.objectives), self.level)
        for point, test in zip(others, tests, strict=True):
            point.superiority = Superiority(shown=test.shown, p=test.p, p_adjusted=test.p_adjusted)

    def _compare_every_metric(self, scored: Sequence[PointResult]) -> None:
        """Fill in paired differences to the parents in the metrics that are not objectives."""
        for point, parent in self._against_parents(scored):
            pair = self._points[point.id].metrics, self._points[parent.id].metrics
            of_metrics = paired.metric_differences(*pair, point.metrics, self.level)
            role = str(parent.role)
            point.differences[role] = of_metrics | point.differences.get(role, {})

    def _against_parents(self, scored: Sequence[PointResult]) -> Iterator[tuple[PointResult, PointResult]]:
        """Yield each point with each parent, but no parent with itself."""
        parents = [p for p in scored if p.role]
        yield from ((point, parent) for point in scored for parent in parents if parent is not point)

    def _fill_in_recovered(self, points: Sequence[PointResult]) -> None:
        """Fill in the share of aligned's change from base that each point undoes, in objectives and pooled metrics."""
        results = {
            p.id: {**self._points[p.id].metrics.get(SUITE, {}), **self._points[p.id].objectives["held_out"]}
            for p in points
        }
        parents = {p.role: results[p.id] for p in points if p.role}
        if parents.keys() != {"base", "aligned"}:
            return
        for point in points:
            pooled = point.metrics.get(SUITE, {})
            n = {metric: splits["held_out"].n for metric, splits in pooled.items() if "held_out" in splits}
            n |= item_counts(point, self.objectives)
            point.recovered = paired.shares_recovered(
                results[point.id], parents["base"], parents["aligned"], self.level, n
            )

    def _for_choice(self, scored: Sequence[PointResult]) -> dict[str, Mapping[Split, Results]]:
        return {p.id: self._points[p.id].for_choice for p in scored}

    def _scored(self, points: Sequence[PointResult]) -> list[PointResult]:
        """Return the complete points that have a value of every objective on every split."""
        return [
            p
            for p in points
            if p.status == "complete"
            and all(p.estimate(o, split).value is not None for o in self.objectives for split in SPLITS)
        ]


def _metrics_of_worst(objectives: Sequence[Objective]) -> dict[str, Direction]:
    """Return the metrics that are needed of the worst task, by objectives and rules → which way is better."""
    named: dict[str, Direction] = {o.key: o.direction for o in objectives if o.scope == WORST}
    return {**dict.fromkeys(RULE_SCORES, "minimize"), **named} if named else {}


def _check_objectives(results: ResultsByScope, objectives: Sequence[Objective]) -> None:
    """Check that every objective is a number on both splits: a point without one can be neither chosen nor reported.

    Raises:
        CalibError: naming the objective and the split.
    """
    for split in BOTH_SPLITS:
        of_split = paired.of_objectives(results, objectives, split)
        for objective in objectives:
            if objective.name not in of_split:
                raise CalibError(f"{objective.name} is not defined for these answers in the {split} split")
            if not np.isfinite(value := of_split[objective.name].value):
                raise CalibError(f"{objective.name} is {value} in the {split} split")
