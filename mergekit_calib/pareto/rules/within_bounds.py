"""The rule `max`: the best value of one objective among the points within bounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from mergekit_calib.pareto.candidates import Candidates, Choice, NoChoice
from mergekit_calib.pareto.dominance import FloatArray
from mergekit_calib.pareto.option_types import Bound, ObjectiveName
from mergekit_calib.pareto.selection import SelectionRule, selection_rule


@selection_rule("max")
class WithinBounds(SelectionRule):
    """Choose the point with the best value of one objective among those within the bounds.

    Any objective may have a bound. Ties go to the better value of the other objectives. Points that are not on the
    frontier may be chosen.

    Attributes:
        objective: the objective to optimise.
        bounds: objective → its least and its largest allowed value.
    """

    objective: ObjectiveName
    bounds: dict[ObjectiveName, Bound] = Field(default_factory=dict)

    def choose(self, candidates: Candidates) -> Choice | NoChoice:
        """Return the best point within the bounds."""
        inside = np.flatnonzero([self._is_inside(values, candidates.objectives) for values in candidates.values])
        n_points = f"{len(candidates.ids)} point{'' if len(candidates.ids) == 1 else 's'}"
        limits = " and ".join(f"{name} {bound}" for name, bound in self.bounds.items())
        if not len(inside):
            return NoChoice(f"none of {n_points} has {limits}{self._nearest(candidates)}")
        chosen = candidates.least(inside, first=candidates.objectives.index(self.objective))
        those = f"{len(inside)} of {n_points} with {limits}" if self.bounds else n_points
        return candidates.choice(chosen, f"{candidates.describe(chosen)} has the best {self.objective} of {those}")

    def _nearest(self, candidates: Candidates) -> str:
        """Return the nearest value to each bound that no point meets, as ` (the nearest ece is 0.03)`."""
        nearest = []
        for name, bound in self.bounds.items():
            values = candidates.values[:, candidates.objectives.index(name)]
            excess = np.array([bound.excess(value) for value in values])
            if (excess > 0).all():
                nearest.append(f"the nearest {name} is {values[excess.argmin()]:.4g}")
        return f" ({', '.join(nearest)})" if nearest else ""

    def _is_inside(self, values: FloatArray, objectives: Sequence[str]) -> bool:
        by_name = dict(zip(objectives, values, strict=True))
        return all(bound.excess(by_name[name]) == 0.0 for name, bound in self.bounds.items())
