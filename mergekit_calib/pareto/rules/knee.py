"""The rule `knee`: the frontier point with the least sum of regrets."""

from __future__ import annotations

import numpy as np

from mergekit_calib.pareto.candidates import Candidates, Choice
from mergekit_calib.pareto.selection import SelectionRule, selection_rule


@selection_rule("knee")
class Knee(SelectionRule):
    """Choose the frontier point with the least sum of regrets.

    A regret is the shortfall from the best value of an objective, divided by the objective's range on the frontier.
    With two objectives the choice is the point furthest beyond the straight line between the frontier's ends (Das
    1999; Branke et al. 2004), since 1 − the sum is √2 times that distance. With more, it is the distance from the plane
    of equal sums, which needs no ends that span a plane. If no point lies beyond the line, as on a frontier of two
    points, the end that is best on the first objective is chosen.
    """

    def choose(self, candidates: Candidates) -> Choice:
        """Return the knee of the frontier."""
        frontier = candidates.frontier
        sums = candidates.regrets[frontier].sum(axis=1)
        chosen = candidates.least(frontier, sums)
        point = candidates.describe(chosen)
        if len(frontier) == 1:
            return candidates.choice(chosen, f"{point} is the only point on the frontier")
        if len(candidates.objectives) != 2:
            reason = (
                f"{point} has the smallest sum of regrets of {len(frontier)} frontier points, {sums.min():.2f} with "
                "each objective's range as 1"
            )
            return candidates.choice(chosen, reason)
        ends = [candidates.least(frontier, -candidates.gains[frontier, k], first=k) for k in (0, 1)]
        names = " and ".join(candidates.describe(end) for end in ends)
        line = f"the line between the frontier's ends, {names}"
        distance = (1.0 - candidates.regrets[chosen].sum()) / np.sqrt(2.0)
        if round(distance, 9) <= 0:
            reason = (
                f"none of {len(frontier)} frontier points lies beyond {line}, so the one with the best "
                f"{candidates.objectives[0]} is taken"
            )
            return candidates.choice(chosen, reason)
        reason = (
            f"{point} is the knee: of {len(frontier)} frontier points it lies furthest beyond {line}, "
            f"by {distance:.2f} with each objective's range as 1"
        )
        return candidates.choice(chosen, reason)
