"""From item tables to the numbers and statements of a frontier; one module a question."""

from mergekit_calib.analysis.reliability import reliability_diagram
from mergekit_calib.analysis.sampling import scopes
from mergekit_calib.analysis.study import Analysis

__all__ = ["Analysis", "reliability_diagram", "scopes"]
