"""The test that points are significantly better than their parents: intersection-union, over single comparisons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mergekit_calib.pareto.dominance import FloatArray

# Floating-point error of 1 − level: 1 − .9 is a little less than .1.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class SuperiorityTest:
    """The test that one point is better than every parent on every objective.

    Attributes:
        shown: whether `p_adjusted` is at most 1 − level.
        p: for this point by itself.
        p_adjusted: after Holm's correction for the number of points tested.
    """

    shown: bool
    p: float
    p_adjusted: float


def superiority(p_values: ArrayLike, level: float = 0.95) -> list[SuperiorityTest]:
    """Test each point for being better than every parent on every objective.

    A sample cannot show "at least as good everywhere and better somewhere", since it cannot show equality; so the
    strict form is tested. The intersection-union test (Berger 1982) rejects "not better than some parent on some
    objective" if every single comparison rejects its own null: p is the largest p of the comparisons, with no
    correction for their number. Over the points, p is corrected by Holm's method (1979), so at most 1 − level of the
    sweeps without a superior point show one.

    Args:
        p_values: (n_points, n_parents, n_objectives) one-sided p of the point's gain over the parent, 0 to 1.
        level: 1 − the probability of a false claim about any point.

    Returns:
        One test for each point, in order.

    Raises:
        ValueError: another shape, no parent or objective, a p outside 0 to 1, or a level outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}; between 0 and 1 is needed")
    single = np.asarray(p_values, dtype=np.float64)
    if single.ndim != 3 or 0 in single.shape[1:]:
        raise ValueError(
            f"p-values have shape {single.shape}; (n_points, n_parents, n_objectives) is needed, with at least 1 "
            "parent and objective"
        )
    if not ((single >= 0.0) & (single <= 1.0)).all():
        raise ValueError("a p-value is not between 0 and 1")
    p = single.max(axis=(1, 2))
    return [
        SuperiorityTest(shown=bool(adjusted <= 1.0 - level + _ROUNDING), p=float(own), p_adjusted=float(adjusted))
        for own, adjusted in zip(p, _holm(p), strict=True)
    ]


def _holm(p: FloatArray) -> FloatArray:
    """Return p-values adjusted by Holm's step-down method (1979): (n,)."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order]), 1.0)
    return adjusted
