"""The rule `pareto_superior`: of the points that dominate every parent, the one with the largest minimum gain."""

from __future__ import annotations

import numpy as np

from mergekit_calib.pareto.candidates import Candidates, Choice, NoChoice
from mergekit_calib.pareto.dominance import FloatArray
from mergekit_calib.pareto.selection import SelectionRule, selection_rule
from mergekit_calib.results.names import point_name


@selection_rule("pareto_superior")
class ParetoSuperior(SelectionRule):
    """Choose, of the points that dominate every parent as scored, the one whose minimum gain is largest.

    Gains are over the better parent, divided by the objective's range over frontier and parents together. The rule does
    not test significance; `superiority` does.
    """

    def choose(self, candidates: Candidates) -> Choice | NoChoice:
        """Return the superior point with the largest minimum gain."""
        if not candidates.parents:
            return NoChoice("no parent is among the points")
        gains, of_parents = candidates.gains, candidates.parent_gains
        superior = np.array([i for i in candidates.frontier if _dominates_all(gains[i], of_parents)], dtype=np.intp)
        signs = np.array([1.0 if d == "maximize" else -1.0 for d in candidates.directions])
        described = [
            f"{point_name(parent)} ({candidates.named_values(values * signs)})"
            for parent, values in zip(candidates.parents, of_parents, strict=True)
        ]
        names = " and ".join(described)
        if not len(superior):
            return NoChoice(f"no point is at least as good as {names} on every objective and better on one")
        values = np.concatenate([gains[candidates.frontier], of_parents])
        ranges = values.max(axis=0) - values.min(axis=0)
        differs = ranges > 0
        over_best = ((gains[superior] - of_parents.max(axis=0)) / np.where(differs, ranges, 1.0))[:, differs]
        chosen = candidates.least(superior, -over_best.min(axis=1), -over_best.sum(axis=1))
        single = len(superior) == 1
        reason = (
            f"{candidates.describe(chosen)} is {'the one point' if single else f'one of {len(superior)} points'} at "
            f"least as good as {names} on every objective and better on one"
            + ("" if single else ", with the largest minimum gain")
        )
        return candidates.choice(chosen, reason)


def _dominates_all(gains: FloatArray, others: FloatArray) -> bool:
    return bool(((gains >= others).all(axis=1) & (gains > others).any(axis=1)).all())
