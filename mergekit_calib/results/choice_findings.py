"""The choice of a point in a sweep's result: on which items, what the rule saw, and how certain it is."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from mergekit_calib.results.findings import Difference, Estimate


class Decided(BaseModel, frozen=True):
    """What a person decided after the sweep, in place of the recipe's rule.

    Attributes:
        by: whether a point was named, or another rule.
        rule: the recipe's rule.
        instead_of: the id of the point that the recipe's rule chooses.
    """

    by: Literal["point", "rule"]
    rule: str
    instead_of: str


class Selection(BaseModel, frozen=True):
    """A choice of a point.

    Attributes:
        rule: the name of the selection rule that the recipe asks for.
        point: the id of the point.
        reason: one sentence that says why it was chosen.
        gave_way: why the rule that the recipe asks for chose no point; the default rule then chose, and `reason` is
            that rule's. None if the rule chose.
        split: the items that it was chosen on.
        decided: what a person decided after the sweep; None if the recipe's rule chose.
    """

    rule: str
    point: str
    reason: str
    gave_way: str | None = None
    split: Literal["all", "selection", "held_out"] = "selection"
    decided: Decided | None = None


class CrossFitted(BaseModel, frozen=True):
    """The rule's choices, measured on items that they were not chosen on: each split's choice on the other split.

    It estimates how good the rule's choice is on new items, from all items. If both splits choose the same point, these
    are that point's numbers on all items.

    Attributes:
        choices: split (`selection`, `held_out`) → the id of the point that the rule chooses on it.
        estimates: objective name → estimate over all items, each answered by the choice of the other split.
        differences: role of a parent → objective name → paired difference, the choices minus that parent.
    """

    choices: dict[str, str]
    estimates: dict[str, Estimate]
    differences: dict[str, dict[str, Difference]]


class RuleScore(BaseModel, frozen=True):
    """A metric that the rules `one_se` and `least` look at, on the items that the point is chosen on.

    Attributes:
        direction: whether more or less of it is better.
        values: id of each point that can be chosen → the metric; None if it is infinite or not defined.
        best: the id of the point with the best value.
        standard_errors: id → the standard error of the paired difference from `best`; None if it is not defined.
        proper: whether it is a proper score of what the objectives measure, which those rules look at by default.
    """

    direction: Literal["maximize", "minimize"]
    values: dict[str, float | None]
    best: str
    standard_errors: dict[str, float | None]
    proper: bool = False


class BothSplits(BaseModel, frozen=True):
    """The points that the sweep's rule chooses on each split of the items, and how each scores on the other split.

    Attributes:
        choices: split chosen on (`selection`, `held_out`) → the choice.
        on_other_split: split chosen on → objective name → the choice's estimate on the other split.
        differences: split measured on → objective name → paired difference, the selection split's choice minus the
            held-out split's; empty if both are the same point.
        choice_shares: point id → the share of resamples of the items that the point is chosen on in which it is the
            choice; without points that are never chosen.
        difference_in_differences: objective name → the change from base to aligned on the selection split minus that
            on the held-out split, with intervals that hold for all objectives together. Empty unless suite entries
            name their splits: splits by hash do not differ systematically.
    """

    choices: dict[str, Selection]
    on_other_split: dict[str, dict[str, Estimate]]
    differences: dict[str, dict[str, Difference]] = Field(default_factory=dict)
    choice_shares: dict[str, float] = Field(default_factory=dict)
    difference_in_differences: dict[str, Difference] = Field(default_factory=dict)

    @property
    def agree(self) -> bool:
        """Whether both splits choose the same point."""
        return len({choice.point for choice in self.choices.values()}) == 1
