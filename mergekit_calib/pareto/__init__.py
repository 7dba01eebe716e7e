"""Multi-objective optimisation: frontier, hypervolume, superiority test, and rules that choose a point.

It works on arrays and names, wherever the numbers come from. Rules are in `rules/`, one module each.
"""

from mergekit_calib.pareto import rules  # noqa: F401  (its import registers the built-in rules)
from mergekit_calib.pareto.candidates import Candidates, Choice
from mergekit_calib.pareto.dominance import Direction, Directions, gains, hypervolume, non_dominated
from mergekit_calib.pareto.intersection_union import SuperiorityTest, gain_p_values, resamples_needed, superiority
from mergekit_calib.pareto.option_types import Bound, FiniteNumber, ObjectiveName, PerObjective
from mergekit_calib.pareto.selection import SELECTION_RULES, SelectionRule, rule_problems, select, selection_rule
from mergekit_calib.pareto.uncertainty import (
    AttainmentSurface,
    attainment_surfaces,
    frontier_probabilities,
    resampled_hypervolume,
)

__all__ = [
    "SELECTION_RULES",
    "AttainmentSurface",
    "Bound",
    "Candidates",
    "Choice",
    "Direction",
    "Directions",
    "FiniteNumber",
    "ObjectiveName",
    "PerObjective",
    "SelectionRule",
    "SuperiorityTest",
    "attainment_surfaces",
    "frontier_probabilities",
    "gain_p_values",
    "gains",
    "hypervolume",
    "non_dominated",
    "resampled_hypervolume",
    "resamples_needed",
    "rule_problems",
    "select",
    "selection_rule",
    "superiority",
]
