"""The choice of a point where a person may have decided after the sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mergekit_calib import pareto
from mergekit_calib.analysis.sweep_analysis import SweepAnalysis
from mergekit_calib.results.choice_findings import Decided, Selection
from mergekit_calib.results.decision import Decision
from mergekit_calib.results.frontier import PointResult


@dataclass(frozen=True)
class Choosing:
    """How a point is chosen: by the recipe's rule, unless a person has decided otherwise.

    Attributes:
        select: the recipe's `select`: a rule with its options.
        decision: what a person decided; None if nobody did.
    """

    select: Mapping[str, Any]
    decision: Decision | None = None

    @property
    def rule(self) -> tuple[str, dict[str, Any]]:
        """The rule that chooses, with its options: the decision's, if it has one, else the recipe's."""
        given = self.decision.select if self.decision and self.decision.select is not None else self.select
        return _rule_of(given)

    def conclude(self, analysis: SweepAnalysis, points: Sequence[PointResult]) -> Selection | None:
        """Mark the frontier, compare every point with the parents, and choose one; see `SweepAnalysis.conclude`.

        A point that a person has named is chosen once it is scored.

        Args:
            analysis: the statistics, to which the scored points have been added.
            points: all points so far.
        """
        by_recipe = analysis.conclude(points, *_rule_of(self.select))
        if self.decision is None or by_recipe is None:
            return by_recipe
        if self.decision.select is not None:
            chosen = analysis.conclude(points, *self.rule)
            assert chosen is not None
            decided = Decided(by="rule", rule=by_recipe.rule, instead_of=by_recipe.point)
            return chosen.model_copy(update={"decided": decided})
        if not analysis.select(points, str(self.decision.point)):
            return by_recipe
        decided = Decided(by="point", rule=by_recipe.rule, instead_of=by_recipe.point)
        return by_recipe.model_copy(update={"point": self.decision.point, "gave_way": None, "decided": decided})


def _rule_of(select: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return str(select.get("rule", pareto.DEFAULT_RULE)), {k: v for k, v in select.items() if k != "rule"}
