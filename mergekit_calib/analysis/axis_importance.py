"""The importance of each axis of a sweep: how much of an objective's variation over the points goes with it.

The share of variance is that of functional ANOVA over a forest of regression trees (Hutter et al. 2014), as optuna and
its dashboard compute it. It describes the points that were scored: a search that stays near good points sees less of an
axis than a grid does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mergekit_calib.results.findings import Objective
from mergekit_calib.results.frontier import AxisValue, Frontier, PointResult

LEAST_POINTS = 10
"""The least number of points from which importances are computed; with more than five axes, twice the axes."""
_SUBSETS = 12
_SHARE = 0.8
_TREES = 16


@dataclass(frozen=True)
class AxisImportance:
    """The importance of an axis for an objective.

    Attributes:
        axis: the axis.
        objective: the objective's name.
        share: the share of the explained variance, 0 to 1; those of all axes sum to 1.
        low: the smallest share over random subsets of four fifths of the points.
        high: the largest share over these subsets.
        trend: Spearman's rank correlation of axis and objective over the points; None for an axis of words.
    """

    axis: str
    objective: str
    share: float
    low: float
    high: float
    trend: float | None


def axis_importances(frontier: Frontier, measures: Sequence[Objective] = ()) -> list[AxisImportance]:
    """Return the importance of every axis with several values for every objective, on the held-out split.

    Args:
        frontier: the sweep.
        measures: the metrics; the objectives if none.

    Returns:
        None of a sweep with fewer than two such axes, or with too few points, and of a metric that does not vary.
    """
    importances = []
    for measure in measures or frontier.objectives:
        points = [
            p
            for p in frontier.complete_points
            if p.axes.keys() == frontier.axes.keys() and p.estimate(measure).value is not None and p.same_as is None
        ]
        axes = [axis for axis in frontier.axes if len({p.axes[axis] for p in points}) > 1]
        values = [float(p.estimate(measure).value or 0.0) for p in points]
        if len(axes) < 2 or len(points) < max(LEAST_POINTS, 2 * len(axes)) or len(set(values)) < 2:
            continue
        whole = _shares(points, values, axes, 0)
        rng, drawn = np.random.default_rng(0), []
        for seed in range(1, _SUBSETS + 1):
            kept = rng.permutation(len(points))[: math.ceil(_SHARE * len(points))]
            drawn.append(_shares([points[i] for i in kept], [values[i] for i in kept], axes, seed))
        for axis in axes:
            spread = [whole[axis], *(each[axis] for each in drawn)]
            trend = _trend([p.axes[axis] for p in points], values)
            importances.append(AxisImportance(axis, measure.name, whole[axis], min(spread), max(spread), trend))
    return importances


def _shares(points: Sequence[PointResult], values: Sequence[float], axes: Sequence[str], seed: int) -> dict[str, float]:
    """Return axis → its share of the variance that a forest explains."""
    import optuna  # here, since it takes a second
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

    distributions: dict[str, BaseDistribution] = {}
    for axis in axes:
        found = [p.axes[axis] for p in points]
        numbers = [float(v) for v in found if not isinstance(v, str)]
        if len(numbers) < len(found):
            distributions[axis] = CategoricalDistribution(sorted({str(v) for v in found}))
        else:
            distributions[axis] = FloatDistribution(min(numbers), max(numbers))
    varying = {axis: each for axis, each in distributions.items() if not each.single()}
    if len(set(values)) < 2 or not varying:
        return dict.fromkeys(axes, 0.0)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study()
    finally:
        optuna.logging.set_verbosity(verbosity)
    for point, value in zip(points, values, strict=True):
        at = {
            axis: str(point.axes[axis]) if isinstance(each, CategoricalDistribution) else float(point.axes[axis])
            for axis, each in varying.items()
        }
        study.add_trial(optuna.trial.create_trial(params=at, distributions=varying, value=value))
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=_TREES, max_depth=16, seed=seed)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {axis: float(shares.get(axis, 0.0)) for axis in axes}


def _trend(at: Sequence[AxisValue], values: Sequence[float]) -> float | None:
    from scipy.stats import spearmanr

    numbers = [float(v) for v in at if not isinstance(v, str)]
    if len(numbers) < len(at):
        return None
    correlation = float(spearmanr(numbers, values).statistic)
    return correlation if math.isfinite(correlation) else None
