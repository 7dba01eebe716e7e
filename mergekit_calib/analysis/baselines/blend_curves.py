"""The curve of two models' blended log-probabilities over λ: a baseline, and a forecast of their merges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mergekit_calib.analysis.baselines.mixtures import blend_log_probabilities
from mergekit_calib.analysis.estimation import Estimator
from mergekit_calib.analysis.scoped_statistics import BOTH_SPLITS
from mergekit_calib.items.metric_registry import Metric
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable
from mergekit_calib.results.baseline_findings import Blend
from mergekit_calib.results.findings import Objective
from mergekit_calib.results.frontier import AxisValue

_STEP = 0.05
_MOST = 3.0
"""The greatest λ of a blend. Beyond it, accuracy only falls, and a curve of an unbounded axis would never end."""


def blend_lambdas(axes: Mapping[str, Sequence[AxisValue]]) -> list[float]:
    """Return the values of λ that two models are blended at, ascending.

    They are 0 to 1 in steps of 0.05, on to the greatest λ of the sweep if that is above 1, and the sweep's own values;
    none is above 3.

    Args:
        axes: axis of the sweep → its values; the two ends of a range.
    """
    own = [float(value) for value in axes.get("lambda", ()) if not isinstance(value, str) and 0.0 <= value <= _MOST]
    top = max([1.0, *own])
    grid = np.arange(round(top / _STEP + 0.5)) * _STEP
    return sorted({round(value, 10) for value in [*grid.tolist(), *own, 1.0, top]})


def blend_curve(
    estimator: Estimator,
    objectives: Sequence[Objective],
    first: tuple[str, Tables],
    second: tuple[str, Tables],
    lambdas: Sequence[float],
) -> Blend | None:
    """Return the objectives of two models' blend at each λ, without intervals; None if none can be computed.

    Args:
        estimator: computes the metrics.
        objectives: the objectives; those not computed from choices' probabilities are left out.
        first: the id and the scores of the model at λ = 0.
        second: the same at λ = 1.
        lambdas: (n,) ascending.
    """
    keys = {objective.key for objective in objectives}

    def wanted(table: ItemTable, metric: Metric) -> bool:
        return metric.name in keys and of_probabilities(table, metric)

    values: dict[str, dict[str, list[float | None]]] = {}
    for i, at in enumerate(lambdas):
        blended = blend_log_probabilities(first[1], second[1], at)
        if blended is None:
            continue
        for split in BOTH_SPLITS:
            for name, value in estimator.statistics.values(blended, objectives, split, wanted).items():
                along = values.setdefault(name, {}).setdefault(split, [None] * len(lambdas))
                along[i] = value if np.isfinite(value) else None
    return Blend(of=(first[0], second[0]), lambdas=list(lambdas), values=values) if values else None


def of_probabilities(table: ItemTable, metric: Metric) -> bool:
    """Return whether a metric is computed from the choices' probabilities alone, and is not one of the task's own."""
    return metric.of_probabilities and metric.name not in table.values
