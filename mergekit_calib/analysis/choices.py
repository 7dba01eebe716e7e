"""The choice of a point by the sweep's rule: on each split, and on resamples, which show how certain it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import pareto, plugins
from mergekit_calib.analysis import paired
from mergekit_calib.analysis.estimation import Results, ResultsByScope
from mergekit_calib.analysis.scoped_statistics import SPLITS
from mergekit_calib.items.table import Split
from mergekit_calib.results.choice_findings import BothSplits, RuleScore, Selection
from mergekit_calib.results.findings import Difference, Estimate, Objective
from mergekit_calib.results.frontier import PointResult

ResultsBySplit = Mapping[str, Mapping[Split, Results]]  # point id → split → results

SPLIT_PAIRS: tuple[tuple[Split, Split], ...] = (("selection", "held_out"), ("held_out", "selection"))
"""(the split that a choice is made on, the other split, which its numbers are quoted from)."""

MOST_RESAMPLES = 200
"""The most resamples on which the rule is run, since a plugin's rule may be slow."""


_PROPER = ("brier", "nll")
RULE_SCORES: tuple[str, ...] = (*_PROPER, "ece")
"""The metrics that rules may look at beside the objectives, where all items have choices."""


@dataclass(frozen=True)
class Chooser:
    """The sweep's selection rule, applied to scored points.

    Results that it takes are those of `results_of`: of the objectives, and of `RULE_SCORES`.

    Attributes:
        objectives: the metrics that are traded off.
        rule: the rule's name.
        options: the rule's options.
        of_choices: the names of the metrics of items with choices.
    """

    objectives: Sequence[Objective]
    rule: str
    options: Mapping[str, Any]
    of_choices: frozenset[str]

    @cached_property
    def scores(self) -> dict[str, Objective]:
        """Metric → where it is computed; see `scores_beside`."""
        return scores_beside(self.objectives)

    def results_of(self, results: ResultsByScope) -> dict[Split, Results]:
        """Return split → what a choice looks at: the results of the objectives and of the scores that there are."""
        everything = [*self.objectives, *self.scores.values()]
        return {split: paired.of_objectives(results, everything, split) for split in SPLITS}

    def choose(self, points: Sequence[PointResult], results: ResultsBySplit, split: Split) -> Selection:
        """Return the choice among `points` on `split`.

        Args:
            points: the points to choose among.
            results: point id → split → results.
            split: the items to choose on.
        """
        choice = pareto.choose(self._rule, self._candidates(points, results, split))
        return Selection(rule=self.rule, point=choice.id, reason=choice.reason, gave_way=choice.gave_way, split=split)

    def dominated_by(
        self, points: Sequence[PointResult], results: ResultsBySplit, split: Split
    ) -> dict[str, list[str]]:
        """Return point id → the ids of the points that dominate it on `split` beyond chance."""
        dominates = self._candidates(points, results, split).dominates
        return {
            p.id: [other.id for other, does in zip(points, dominates[:, j], strict=True) if does]
            for j, p in enumerate(points)
        }

    def rule_scores(self, points: Sequence[PointResult], results: ResultsBySplit, split: Split) -> dict[str, RuleScore]:
        """Return metric → what rules see of it on `split`: of the scores, and of the objectives."""
        candidates = self._candidates(points, results, split).with_finite_values().without_dominated()
        by_metric = {}
        for name in dict.fromkeys([*candidates.scores, *candidates.objectives]):
            score = candidates.score(name)
            best = candidates.least(np.arange(len(candidates.ids)), score.losses)
            by_metric[name] = RuleScore(
                direction=score.direction,
                values=_finite(candidates.ids, score.values),
                best=candidates.ids[best],
                standard_errors=_finite(candidates.ids, score.standard_errors[:, best]),
                proper=name in candidates.proper,
            )
        return by_metric

    def shares(self, points: Sequence[PointResult], results: ResultsBySplit, split: Split) -> dict[str, float]:
        """Return point id → the share of resamples of `split` in which it is the choice.

        The largest comes first; points that are never chosen are left out. Values differ between resamples, standard
        errors are those of the split itself.

        Args:
            points: the points to choose among.
            results: point id → split → results.
            split: the items to choose on.
        """
        candidates = self._candidates(points, results, split)
        of_points = [results[p.id][split] for p in points]
        drawn = paired.comparable_replicates(of_points, self.objectives)
        of_scores = {
            name: paired.comparable_replicates(of_points, [self.scores[name]])[:, 0] for name in candidates.scores
        }
        usable = np.flatnonzero(np.isfinite(drawn).all(axis=(0, 1)))[:MOST_RESAMPLES]

        def on_resample(r: int) -> str:
            scores = {name: replace(score, values=of_scores[name][:, r]) for name, score in candidates.scores.items()}
            resampled = replace(candidates, values=drawn[:, :, r], scores=scores)
            return pareto.choose(self._rule, resampled).id

        counts = Counter(on_resample(r) for r in usable)
        return {point: count / len(usable) for point, count in counts.most_common()}

    def both_splits(
        self,
        points: Sequence[PointResult],
        results: ResultsBySplit,
        level: float,
        difference_in_differences: dict[str, Difference],
        choice_shares: dict[str, float],
    ) -> BothSplits:
        """Return the choice on each split, its estimates on the other split, and how the two choices differ.

        Args:
            points: the points to choose among.
            results: point id → split → results.
            level: the confidence level of intervals.
            difference_in_differences: that of the parents between the two splits, as in `BothSplits`.
            choice_shares: as `shares` returns them, of the items that the point is chosen on.
        """
        choices: dict[str, Selection] = {split: self.choose(points, results, split) for split, _ in SPLIT_PAIRS}
        chosen = {split: next(p for p in points if p.id == choices[split].point) for split, _ in SPLIT_PAIRS}
        on_other_split: dict[str, dict[str, Estimate]] = {
            split: {o.name: chosen[split].estimate(o, other) for o in self.objectives} for split, other in SPLIT_PAIRS
        }
        mine, theirs = chosen["selection"], chosen["held_out"]
        differences: dict[str, dict[str, Difference]] = {}
        if mine is not theirs:
            for split, _ in SPLIT_PAIRS:
                n = item_counts(mine, self.objectives, split)
                pair = results[mine.id][split], results[theirs.id][split]
                differences[split] = paired.differences(*pair, self.objectives, level, n)
        return BothSplits(
            choices=choices,
            on_other_split=on_other_split,
            differences=differences,
            choice_shares=choice_shares,
            difference_in_differences=difference_in_differences,
        )

    @cached_property
    def _rule(self) -> pareto.SelectionRule:
        names = [o.name for o in self.objectives]
        return pareto.make_rule(self.rule, self.options, names, RULE_SCORES, plugins.selection_rules())

    def _candidates(self, points: Sequence[PointResult], results: ResultsBySplit, split: Split) -> pareto.Candidates:
        of_points = [results[p.id][split] for p in points]
        scores = {name: o for name, o in self.scores.items() if all(o.name in result for result in of_points)}
        values = paired.values(of_points, list(scores.values()))
        errors = paired.standard_errors(of_points, list(scores.values()))
        return pareto.Candidates(
            ids=tuple(p.id for p in points),
            objectives=tuple(o.name for o in self.objectives),
            directions=tuple(o.direction for o in self.objectives),
            values=objective_values(points, self.objectives, split),
            parents=tuple(p.id for p in points if p.role),
            standard_errors=paired.standard_errors(of_points, self.objectives),
            scores={
                name: pareto.PairedScore(o.direction, values[:, k], errors[:, :, k])
                for k, (name, o) in enumerate(scores.items())
            },
            proper=tuple(name for name in _PROPER if name in scores and self._covers(points[0], scores[name], split)),
        )

    def _covers(self, point: PointResult, score: Objective, split: Split) -> bool:
        """Return whether a proper score measures what the objectives measure.

        It does if there are several objectives, each is a metric of choices, and each is computed from the same items
        as the score. One objective alone is what the user wants.
        """
        n = point.estimate(score, split).n
        return len(self.objectives) > 1 and all(
            o.metric in self.of_choices and o.to is None and point.estimate(o, split).n == n for o in self.objectives
        )


def scores_beside(objectives: Sequence[Objective]) -> dict[str, Objective]:
    """Return each of `RULE_SCORES` in the scope that all objectives have in common, else in the whole suite."""
    in_common = len({o.scope for o in objectives}) == 1
    where = objectives[0] if in_common else Objective(metric="", direction="minimize")
    return {m: where.model_copy(update={"metric": m, "direction": "minimize", "to": None}) for m in RULE_SCORES}


def _finite(ids: Sequence[str], values: NDArray[np.float64]) -> dict[str, float | None]:
    """Return id → value; None in place of one that is not finite, which JSON has no number for."""
    return {i: float(value) if np.isfinite(value) else None for i, value in zip(ids, values, strict=True)}


def objective_values(
    points: Sequence[PointResult], objectives: Sequence[Objective], split: Split
) -> NDArray[np.float64]:
    """Return the objectives of points on `split`, (n_points, n_objectives); NaN where there is no value."""
    return np.array([[np.nan if (v := p.estimate(o, split).value) is None else v for o in objectives] for p in points])


def item_counts(point: PointResult, objectives: Sequence[Objective], split: Split = "held_out") -> dict[str, int]:
    """Return objective name → the number of items that the point's objective is computed from."""
    return {o.name: point.estimate(o, split).n for o in objectives}
