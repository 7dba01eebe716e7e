"""The time that estimates, resamples and predictions take, by the numbers of items, points and resamples.

The coefficients were fitted to the processor time of sweeps of the demo with 300, 1,200 and 5,000 items and 1,000
resamples (`tests/benchmarks/plan_accuracy.py` compares what they give with what runs take).
"""

from __future__ import annotations

from mergekit_calib.sweep.prepared import Prepared

# Seconds, each as (whatever the number of items, for a thousand items).
_POINT = (0.04, 0.075)  # a point's estimates, and its item scores on disk
_END = (0.8, 0.6)  # baselines, both splits, uncertainty
_CURVE_POINT = (0.5, 0.32)  # a point after the curve is known: predictions, and the rule's choice among them
_CURVE_POINTS = 4
_BAYESIAN = (0.9, 0.1)  # a proposal


def statistics_seconds(prepared: Prepared, n_items: int, n_points: int) -> float:
    """Return how long a worker computes estimates, after each point and at the end.

    Args:
        prepared: the sweep.
        n_items: items of a point.
        n_points: points that the worker scores.
    """
    n_entries = len(prepared.suite.entries)
    scopes = n_entries + (n_entries > 1)
    thousands = n_items * (2 if n_entries > 1 else 1) * prepared.sweep.calibration.n_resamples / 1e6

    def of(cost: tuple[float, float]) -> float:
        return cost[0] * scopes + cost[1] * thousands

    curve = _CURVE_POINTS * of(_CURVE_POINT) if prepared.strategy.name == "curve" else 0.0
    return n_points * of(_POINT) + of(_END) + curve


def proposal_seconds(prepared: Prepared, n_items: int) -> float:
    """Return how long the search takes to propose a point.

    Args:
        prepared: the sweep.
        n_items: items of a point.
    """
    return _BAYESIAN[0] + _BAYESIAN[1] * n_items / 1000 if prepared.strategy.name == "bayesian" else 0.0
