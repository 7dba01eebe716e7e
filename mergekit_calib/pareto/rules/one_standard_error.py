"""The rule `one_se`: within one standard error of the best proper score, the best of a second metric."""

from __future__ import annotations

import numpy as np

from mergekit_calib.pareto.candidates import Candidates, Choice
from mergekit_calib.pareto.option_types import ScoreName
from mergekit_calib.pareto.selection import SelectionRule, selection_rule


@selection_rule("one_se")
class OneStandardError(SelectionRule):
    """Choose, of the points within one standard error of the best score, the one that is best in a second metric.

    The set holds the points whose paired mean difference from the best score is at most one standard error of that
    difference (Breiman et al. 1984; `lambda.1se` of glmnet). A proper score, such as the Brier score, rewards accuracy
    and calibration at once, and is a mean over items, so that it varies less than the calibration error between
    samples. Points that are not on the frontier may be chosen.

    Attributes:
        score: the metric that makes the set; by default the Brier score. Where the objectives are of other things than
            the probabilities of choices, or there is only one, the first objective.
        then: the metric that decides within the set; by default the NLL. Where `score` is an objective by default, the
            second objective, if there is one.
    """

    score: ScoreName | None = None
    then: ScoreName | None = None

    def choose(self, candidates: Candidates) -> Choice:
        """Return the point that is best in `then` among those within one standard error of the best `score`."""
        score_name, then_name = self._metrics(candidates)
        score, then = candidates.score(score_name), candidates.score(then_name)
        everything = np.arange(len(candidates.ids))
        best = candidates.least(everything, score.losses, then.losses)
        with np.errstate(invalid="ignore"):  # every score may be infinite
            within = np.flatnonzero(score.losses - score.losses[best] <= score.standard_errors[:, best])
        within = np.union1d(within, [best])  # the best itself, if its standard error is not defined
        chosen = candidates.least(within, then.losses[within], score.losses[within])
        point = candidates.describe(chosen)
        of_best = f"the best {score_name} ({score.values[best]:.4g})"
        if len(within) == 1:
            return candidates.choice(chosen, f"{point} has {of_best}, and no other point is within one standard error")
        reason = (
            f"{point} has the best {then_name} ({then.values[chosen]:.4g}) of the {len(within)} points within one "
            f"standard error of {of_best}"
        )
        return candidates.choice(chosen, reason)

    def _metrics(self, candidates: Candidates) -> tuple[str, str]:
        """Return the names of the score and of the metric that decides within the set."""
        by_default = candidates.proper or candidates.objectives
        score = self.score or by_default[0]
        return score, self.then or next((name for name in by_default if name != score), score)
