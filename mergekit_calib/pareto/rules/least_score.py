"""The rule `least`: the point with the best value of one score."""

from __future__ import annotations

import numpy as np

from mergekit_calib.pareto.candidates import Candidates, Choice
from mergekit_calib.pareto.option_types import ScoreName
from mergekit_calib.pareto.selection import SelectionRule, selection_rule


@selection_rule("least")
class LeastScore(SelectionRule):
    """Choose the point with the least value of a proper score, or the best value of an objective.

    Points that are not on the frontier may be chosen.

    Attributes:
        score: the metric; by default the NLL. Where the objectives are of other things than the probabilities of
            choices, or there is only one, the first objective.
    """

    score: ScoreName | None = None

    def choose(self, candidates: Candidates) -> Choice:
        """Return the point with the best score."""
        name = self.score or (candidates.proper or candidates.objectives)[-1 if candidates.proper else 0]
        score = candidates.score(name)
        everything = np.arange(len(candidates.ids))
        chosen = candidates.least(everything, score.losses)
        n_points = f"{len(everything)} point{'' if len(everything) == 1 else 's'}"
        return candidates.choice(
            chosen, f"{candidates.describe(chosen)} has the best {name} of {n_points}, {score.values[chosen]:.4g}"
        )
