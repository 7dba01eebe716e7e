"""The rule `max`: the best value of one objective among the points within bounds."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from mergekit_calib.pareto.candidates import Candidates, Choice
from mergekit_calib.pareto.dominance import FloatArray
from mergekit_calib.pareto.option_types import Bound, ObjectiveName
from mergekit_calib.pareto.selection import SelectionRule, selection_rule


@selection_rule("max")
class WithinBounds(SelectionRule):
    """Choose the point with the best value of one objective among those within the bounds.

    Any objective may have a bound. If no point is within the bounds, the point with the least
    sum of excesses is chosen, each divided by the objective's range on the frontier. Ties go to the better value of
    the other objectives. Points that are not on the frontier may be chosen.

    Attributes:
        objective: the objective to optimise.
        bounds: objective → its least and its largest allowed value.
    """

    objective: ObjectiveName
    bounds: dict[ObjectiveName, Bound] = Field(default_factory=dict)

    def choose(self, candidates: Candidates) -> Choice:
        """Return the best point within the bounds, or the one that comes nearest to them."""
        k = candidates.objectives.index(self.objective)
        everything = np.arange(len(candidates.ids))
        excess = self._excess(candidates)
        sums = excess.sum(axis=1)
        inside = everything[sums == 0]
        limits = " and ".join(f"{name} {bound}" for name, bound in self.bounds.items())
        if len(inside):
            chosen = candidates.least(inside, first=k)
            n_points = f"{len(everything)} points"
            those = f"{len(inside)} of {n_points} with {limits}" if self.bounds else n_points
            return candidates.choice(chosen, f"{candidates.describe(chosen)} has the best {self.objective} of {those}")
        chosen = candidates.least(everything, sums, first=k)
        missed = [name for name, by in zip(candidates.objectives, excess[chosen], strict=True) if by > 0]
        reason = (
            f"none of {len(everything)} points has {limits}; {candidates.describe(chosen)} comes nearest, "
            f"missing the bound{'s' * (len(missed) > 1)} on {' and '.join(missed)}"
        )
        return candidates.choice(chosen, reason)

    def _excess(self, candidates: Candidates) -> FloatArray:
        """Return how far each value is outside its bound, in frontier ranges: (n_points, n_objectives)."""
        excess = np.zeros_like(candidates.values)
        for name, bound in self.bounds.items():
            k = candidates.objectives.index(name)
            excess[:, k] = [bound.excess(value) / candidates.ranges[k] for value in candidates.values[:, k]]
        return excess
