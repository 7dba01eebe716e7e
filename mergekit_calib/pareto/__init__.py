"""Multi-objective optimisation: frontier, hypervolume, superiority test, and rules that choose a point.

It works on arrays and names, wherever the numbers come from. Rules are in `rules/`, one module each.
"""

from mergekit_calib.pareto import rules  # noqa: F401  (its import registers the built-in rules)
from mergekit_calib.pareto.candidates import Candidates, Choice, NoChoice, PairedScore
from mergekit_calib.pareto.dominance import Direction, Directions, dominates, gains, hypervolume, non_dominated
from mergekit_calib.pareto.intersection_union import SuperiorityTest, superiority
from mergekit_calib.pareto.option_types import Bound, FiniteNumber, ObjectiveName, PerObjective, ScoreName
from mergekit_calib.pareto.selection import (
    DEFAULT_RULE,
    SELECTION_RULES,
    SelectionRule,
    choose,
    make_rule,
    rule_problems,
    select,
    selection_rule,
)
from mergekit_calib.pareto.uncertainty import (
    AttainmentSurface,
    attainment_surfaces,
    frontier_probabilities,
    resampled_hypervolume,
)

__all__ = [
    "DEFAULT_RULE",
    "SELECTION_RULES",
    "AttainmentSurface",
    "Bound",
    "Candidates",
    "Choice",
    "Direction",
    "Directions",
    "FiniteNumber",
    "NoChoice",
    "ObjectiveName",
    "PairedScore",
    "PerObjective",
    "ScoreName",
    "SelectionRule",
    "SuperiorityTest",
    "attainment_surfaces",
    "choose",
    "dominates",
    "frontier_probabilities",
    "gains",
    "hypervolume",
    "make_rule",
    "non_dominated",
    "resampled_hypervolume",
    "rule_problems",
    "select",
    "selection_rule",
    "superiority",
]
