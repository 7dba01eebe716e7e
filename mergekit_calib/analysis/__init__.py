"""From item tables to the numbers and statements of a frontier; one module a question."""

from mergekit_calib.analysis.diagrams import reliability_diagram
from mergekit_calib.analysis.estimation import scopes
from mergekit_calib.analysis.sweep_analysis import Analysis

__all__ = ["Analysis", "reliability_diagram", "scopes"]
