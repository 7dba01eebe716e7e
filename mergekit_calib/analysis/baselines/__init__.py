"""Baselines, which need no merge: temperature scaling, averages and blends of the parents, from item scores alone.

Whatever a baseline needs (a temperature, the λ of a blend) is fitted or chosen on other items than it is measured on.
"""

from mergekit_calib.analysis.baselines.blend_curves import blend_curve, blend_lambdas
from mergekit_calib.analysis.baselines.compared_baselines import BaselineComputer

__all__ = ["BaselineComputer", "blend_curve", "blend_lambdas"]
