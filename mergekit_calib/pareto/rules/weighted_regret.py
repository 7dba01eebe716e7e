"""The rule `weighted`: the frontier point with the smallest maximum weighted regret."""

from __future__ import annotations

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from mergekit_calib.pareto.candidates import Candidates, Choice
from mergekit_calib.pareto.option_types import PerObjective
from mergekit_calib.pareto.selection import SelectionRule, selection_rule


@selection_rule("weighted")
class WeightedRegret(SelectionRule):
    """Choose the frontier point with the smallest maximum weighted regret (Chebyshev; Steuer and Choo 1983).

    A regret is the shortfall from the best value of an objective, divided by its range on the frontier. Ties go to the
    smaller weighted sum. Unlike a weighted sum, this can choose points on non-convex parts of a frontier.

    Attributes:
        weights: objective → weight, none below 0 and not all 0; an objective without one has 1.
    """

    weights: PerObjective = Field(default_factory=dict)

    @field_validator("weights")
    @classmethod
    def _weigh_something(cls, weights: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        negative = [f"{name}: a weight of {weight:g} is below 0" for name, weight in weights.items() if weight < 0]
        if negative:
            raise ValueError("; ".join(negative))
        objectives = (info.context or {}).get("objectives")
        if objectives and not any(weights.get(name, 1) for name in objectives):
            raise ValueError("every weight is 0; at least one must be above")
        return weights

    def choose(self, candidates: Candidates) -> Choice:
        """Return the frontier point with the smallest maximum weighted regret."""
        weights = np.array([self.weights.get(name, 1.0) for name in candidates.objectives])
        frontier = candidates.frontier
        regrets = weights * candidates.regrets[frontier]
        chosen = candidates.least(frontier, regrets.max(axis=1), regrets.sum(axis=1))
        of_chosen = weights * candidates.regrets[chosen]
        k = int(of_chosen.argmax())
        reason = (
            f"{candidates.describe(chosen)} has the smallest maximum weighted regret of {len(frontier)} frontier "
            f"points, {of_chosen[k]:.2g} of the range of {candidates.objectives[k]} "
            f"(weights {candidates.named_values(weights)})"
        )
        return candidates.choice(chosen, reason)
