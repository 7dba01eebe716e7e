"""The rule `nearest`: the frontier point nearest to an ideal point."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from mergekit_calib.pareto.candidates import Candidates, Choice
from mergekit_calib.pareto.dominance import FloatArray
from mergekit_calib.pareto.option_types import PerObjective
from mergekit_calib.pareto.selection import SelectionRule, selection_rule


@selection_rule("nearest")
class NearestIdeal(SelectionRule):
    """Choose the frontier point with the least Euclidean distance to an ideal point.

    Each objective is divided by its range on the frontier. Being better than the ideal on an objective adds no
    distance. Ties go to better values.

    Attributes:
        ideal: objective → ideal value; the best on the frontier for an objective without one, so the utopia point
            (Zeleny 1973) if it is empty.
    """

    ideal: PerObjective = Field(default_factory=dict)

    def choose(self, candidates: Candidates) -> Choice:
        """Return the frontier point nearest to the ideal."""
        signs = np.array([1.0 if d == "maximize" else -1.0 for d in candidates.directions])
        best = zip(candidates.objectives, candidates.best * signs, strict=True)
        ideal = np.array([self.ideal.get(name, value) for name, value in best])
        frontier = candidates.frontier
        short = np.maximum(ideal * signs - candidates.gains[frontier], 0.0) / candidates.ranges
        distance: FloatArray = np.sqrt((short**2).sum(axis=1))
        chosen = candidates.least(frontier, distance)
        reason = (
            f"{candidates.describe(chosen)} is the nearest of {len(frontier)} frontier points to "
            f"{candidates.named_values(ideal)}, {distance.min():.2g} away with each objective's range as 1"
        )
        return candidates.choice(chosen, reason)
