"""Many points, several objectives: the frontier, its hypervolume, tests of superiority, and rules that choose a point.

Knows arrays and names; where the numbers come from is its callers' business.
"""

from mergekit_calib.pareto.candidates import Candidates, Choice, SelectionRule
from mergekit_calib.pareto.dominance import Direction, Directions, gains, hypervolume, non_dominated
from mergekit_calib.pareto.selection import SELECTION_RULES, select, validate_options
from mergekit_calib.pareto.superiority_test import SuperiorityTest, gain_p_values, resamples_needed, superiority
from mergekit_calib.pareto.uncertainty import (
    AttainmentSurface,
    attainment_surfaces,
    frontier_probabilities,
    resampled_hypervolume,
)

__all__ = [
    "SELECTION_RULES",
    "AttainmentSurface",
    "Candidates",
    "Choice",
    "Direction",
    "Directions",
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
    "select",
    "superiority",
    "validate_options",
]
