"""From item tables to the numbers and statements of a frontier; one module for each question."""

from mergekit_calib.analysis.diagrams import reliability_diagram
from mergekit_calib.analysis.sweep_analysis import SweepAnalysis

__all__ = ["SweepAnalysis", "reliability_diagram"]
