"""Choosing a point: by the sweep's rule on one split, on the other, and on resamples, to see how certain it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import pareto, plugins
from mergekit_calib.analysis import paired
from mergekit_calib.analysis.estimation import Results
from mergekit_calib.items.table import Split
from mergekit_calib.results.findings import BothSplits, Difference, Estimate, Objective, Selection
from mergekit_calib.results.frontier import PointResult

CHOICES_AND_OTHERS: tuple[tuple[Split, Split], ...] = (("selection", "held_out"), ("held_out", "selection"))
"""Each split that a choice is made on, and the split that its numbers are then quoted from."""

MOST_RESAMPLES = 200
"""In how many resamples the rule is run: a third party's rule may be slow."""


@dataclass(frozen=True)
class Chooser:
    """The sweep's selection rule, applied to scored points.

    Attributes:
        objectives: what is traded off.
        rule: the rule's name.
        options: the rule's options.
    """

    objectives: Sequence[Objective]
    rule: str
    options: Mapping[str, Any]

    def choose(self, points: Sequence[PointResult], split: Split) -> Selection:
        """Return the choice among `points`, by their objectives on `split`."""
        choice = self._apply(points, objective_values(points, self.objectives, split))
        return Selection(rule=self.rule, point=choice.id, reason=choice.reason)

    def shares(self, points: Sequence[PointResult], results: Sequence[Results]) -> dict[str, float]:
        """Return the share of resamples in which each point is the choice, by id, the largest first; without zeros.

        Args:
            points: those to choose among.
            results: (n_points,) their objectives on the split to choose on.
        """
        drawn = paired.centred(results, self.objectives)
        usable = np.flatnonzero(np.isfinite(drawn).all(axis=(0, 1)))[:MOST_RESAMPLES]
        counts = Counter(self._apply(points, drawn[:, :, r]).id for r in usable)
        return {point: count / len(usable) for point, count in counts.most_common()}

    def both_splits(
        self,
        points: Sequence[PointResult],
        results: Mapping[str, Mapping[Split, Results]],
        level: float,
        apart: dict[str, Difference],
    ) -> BothSplits:
        """Return what each split would choose, what that scores on the other split, and how the two choices differ.

        Args:
            points: those to choose among.
            results: point id → split → objectives.
            level: of the intervals.
            apart: how differently the parents compare on the two splits, as `BothSplits` has it.
        """
        choices: dict[str, Selection] = {split: self.choose(points, split) for split, _ in CHOICES_AND_OTHERS}
        chosen = {split: next(p for p in points if p.id == choices[split].point) for split, _ in CHOICES_AND_OTHERS}
        elsewhere: dict[str, dict[str, Estimate]] = {
            split: {o.name: chosen[split].estimate(o, other) for o in self.objectives}
            for split, other in CHOICES_AND_OTHERS
        }
        mine, theirs = chosen["selection"], chosen["held_out"]
        differences: dict[str, dict[str, Difference]] = {}
        if mine is not theirs:
            for split, _ in CHOICES_AND_OTHERS:
                n = item_counts(mine, self.objectives, split)
                pair = results[mine.id][split], results[theirs.id][split]
                differences[split] = paired.differences(*pair, self.objectives, level, n)
        shares = self.shares(points, [results[p.id]["selection"] for p in points])
        return BothSplits(choices=choices, elsewhere=elsewhere, differences=differences, chosen_in=shares, apart=apart)

    def _apply(self, points: Sequence[PointResult], values: NDArray[np.float64]) -> pareto.Choice:
        candidates = pareto.Candidates(
            ids=tuple(p.id for p in points),
            objectives=tuple(o.name for o in self.objectives),
            directions=tuple(o.direction for o in self.objectives),
            values=values,
            parents=tuple(p.id for p in points if p.role),
        )
        return pareto.select(self.rule, candidates, self.options, plugins.selection_rules())


def objective_values(
    points: Sequence[PointResult], objectives: Sequence[Objective], split: Split
) -> NDArray[np.float64]:
    """Return the objectives of points on `split`, (n_points, n_objectives); NaN where there is no value."""
    return np.array([[np.nan if (v := p.estimate(o, split).value) is None else v for o in objectives] for p in points])


def item_counts(point: PointResult, objectives: Sequence[Objective], split: Split = "held_out") -> dict[str, int]:
    """Return how many items each objective of a point is taken of, by the objective's name."""
    return {o.name: point.estimate(o, split).n for o in objectives}
