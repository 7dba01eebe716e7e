"""The choice of a point by the sweep's rule: on each split, and on resamples, which show how certain it is."""

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

SPLIT_PAIRS: tuple[tuple[Split, Split], ...] = (("selection", "held_out"), ("held_out", "selection"))
"""(the split that a choice is made on, the other split, which its numbers are quoted from)."""

MOST_RESAMPLES = 200
"""The most resamples on which the rule is run, since a plugin's rule may be slow."""


@dataclass(frozen=True)
class Chooser:
    """The sweep's selection rule, applied to scored points.

    Attributes:
        objectives: the metrics that are traded off.
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
        """Return point id → the share of resamples in which it is the choice, the largest first; without shares of 0.

        Args:
            points: the points to choose among.
            results: (n_points,) their results on the split to choose on.
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
        difference_in_differences: dict[str, Difference],
    ) -> BothSplits:
        """Return the choice on each split, its estimates on the other split, and how the two choices differ.

        Args:
            points: the points to choose among.
            results: point id → split → results of the objectives.
            level: the confidence level of intervals.
            difference_in_differences: that of the parents between the two splits, as in `BothSplits`.
        """
        choices: dict[str, Selection] = {split: self.choose(points, split) for split, _ in SPLIT_PAIRS}
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
        shares = self.shares(points, [results[p.id]["selection"] for p in points])
        return BothSplits(
            choices=choices,
            on_other_split=on_other_split,
            differences=differences,
            choice_shares=shares,
            difference_in_differences=difference_in_differences,
        )

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
    """Return objective name → the number of items that the point's objective is computed from."""
    return {o.name: point.estimate(o, split).n for o in objectives}
