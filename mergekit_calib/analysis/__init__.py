"""The statistics of a sweep: estimates, intervals, comparisons and tests, computed from item tables."""

from mergekit_calib.analysis.diagrams import reliability_diagram
from mergekit_calib.analysis.sweep_analysis import SweepAnalysis

__all__ = ["SweepAnalysis", "reliability_diagram"]
