"""Baselines, which need no merge: temperature scaling, averages and blends of the parents, from item scores alone.

Whatever a baseline needs (a temperature, the λ of a blend) is fitted or chosen on the selection split, and every number
is from the held-out split.
"""

from mergekit_calib.analysis.baselines.blend_curves import blend_curve, blend_lambdas
from mergekit_calib.analysis.baselines.compared_baselines import Choice, compute_baselines

__all__ = ["Choice", "blend_curve", "blend_lambdas", "compute_baselines"]
