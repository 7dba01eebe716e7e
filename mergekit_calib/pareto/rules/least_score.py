"""The rule `least`: the point with the best value of one score."""

from __future__ import annotations

import numpy as np

from mergekit_calib.pareto.candidates import Candidates, Choice
from mergekit_calib.pareto.option_types import ScoreName
from mergekit_calib.pareto.rules.one_standard_error import OneStandardError
from mergekit_calib.pareto.selection import SelectionRule, selection_rule


@selection_rule("least")
class LeastScore(SelectionRule):
    """Choose the point with the least value of a proper score, or the best value of an objective.

    A proper score, such as the negative log-likelihood of the right choice (NLL), rewards accuracy and calibration at
    once: no model has a lower expected score than one that gives the true probabilities (Gneiting and Raftery 2007).
    Points that are not on the frontier may be chosen.

    Attributes:
        score: the metric; by default the NLL. Where the objectives are of other things than the probabilities of
            choices, or there is only one, the rule then chooses by the objectives, as `one_se` does.
    """

    score: ScoreName | None = None

    def choose(self, candidates: Candidates) -> Choice:
        """Return the point with the best score."""
        name = self.score or _default_score(candidates)
        if name is None:
            return OneStandardError().choose(candidates)
        score = candidates.score(name)
        everything = np.arange(len(candidates.ids))
        chosen = candidates.least(everything, score.losses)
        n_points = f"{len(everything)} point{'' if len(everything) == 1 else 's'}"
        return candidates.choice(
            chosen, f"{candidates.describe(chosen)} has the best {name} of {n_points}, {score.values[chosen]:.4g}"
        )


def _default_score(candidates: Candidates) -> str | None:
    """Return the NLL, or the Brier score if every NLL is infinite, where they measure what the objectives measure."""
    usable = [name for name in candidates.proper if np.isfinite(candidates.scores[name].values).any()]
    return usable[-1] if usable else None
