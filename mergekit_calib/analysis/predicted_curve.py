"""The metrics along an axis as predicted from a few scored points, and how well scored points were predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mergekit_calib.analysis.estimation import Estimator, ResultsByScope
from mergekit_calib.analysis.scoped_statistics import SPLITS
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import Split
from mergekit_calib.metrics import BootstrapResult
from mergekit_calib.results.findings import SUITE
from mergekit_calib.results.prediction_findings import PredictedCurve, PredictionCheck
from mergekit_calib.search.surrogate.interpolation import ItemCurves

_STEPS = 60  # between the outermost nodes
_LARGEST_ERROR = 1.0  # typical, in standard errors: a metric that is predicted worse is not shown
_LEAST_NODES = 5  # that a check must be predicted from, to say how good the finished curve is

Scored = Mapping[str, tuple[float, Tables]]  # point id → its value on the axis, and its item scores


def predicted_curve(
    estimator: Estimator, axis: str, points: Scored, nodes: Sequence[str], known: bool, went_on: bool = False
) -> PredictedCurve | None:
    """Return the metrics along an axis, predicted from all scored points; None if fewer than three are nodes.

    Args:
        estimator: computes metrics.
        axis: the axis's name.
        points: every scored point on the axis.
        nodes: the ids of the points that each was predicted from those before it, in that order; the other points are
            checked against predictions from all of these.
        known: whether the predictions agreed with the points that were scored after them.
        went_on: whether they did not, and the search went on in another way.
    """
    if len(nodes) < 3:
        return None
    checks = [
        _check(estimator, points, nodes[: nodes.index(point)] if point in nodes else nodes, point)
        for point in (*nodes[2:], *(p for p in points if p not in nodes))
    ]
    errors: dict[str, list[float]] = {}
    for check in checks:
        if check.n_nodes >= _LEAST_NODES:
            for name, error in check.errors.items():
                errors.setdefault(name, []).append(error)
    typical = {name: float(np.sqrt(np.mean(np.square(some)))) for name, some in errors.items()}
    # With the scored ones, so that a line through the values goes through them.
    low, high = _ends(points, nodes)
    scored = {round(value, 10): tables for value, tables in points.values() if low <= value <= high}
    values = np.unique([*np.linspace(low, high, _STEPS + 1).round(10), *scored])
    curves = _through(points, list(points))
    metrics: dict[str, dict[str, dict[str, list[float | None]]]] = {}
    for value in values.tolist() if known else []:
        for scope, of_scope in _values(estimator, scored.get(value) or curves.at(value)).items():
            for metric, of_metric in of_scope.items():
                if typical.get(_name(scope, metric), np.inf) > _LARGEST_ERROR:
                    continue
                for split, number in of_metric.items():
                    column = metrics.setdefault(scope, {}).setdefault(metric, {}).setdefault(split, [])
                    column.append(number if np.isfinite(number) else None)
    return PredictedCurve(
        axis=axis,
        values=values.tolist(),
        nodes=list(nodes),
        known=known,
        went_on=went_on,
        metrics=metrics,
        typical_errors=typical,
        checks=checks,
    )


def _check(estimator: Estimator, points: Scored, before: Sequence[str], point: str) -> PredictionCheck:
    value, tables = points[point]
    scored = estimator.bootstrap(tables, ["held_out"])
    of_prediction = _values(estimator, _through(points, before).at(value), ["held_out"])
    predicted, errors = {}, {}
    for scope, of_scope in of_prediction.items():
        for metric, of_metric in of_scope.items():
            result = _result(scored, scope, metric)
            expected = of_metric["held_out"]
            if result is None or not np.isfinite([expected, result.value]).all() or not result.standard_error > 0:
                continue
            name = _name(scope, metric)
            predicted[name] = expected
            errors[name] = (expected - result.value) / result.standard_error
    return PredictionCheck(point=point, n_nodes=len(before), predicted=predicted, errors=errors)


def _values(
    estimator: Estimator, tables: Tables, splits: Sequence[Split] = SPLITS
) -> dict[str, dict[str, dict[Split, float]]]:
    """Return scope → metric → split → value, without resampling."""
    values: dict[str, dict[str, dict[Split, float]]] = {}
    for split in splits:
        for scope, of_scope in estimator.statistics.by_scope(tables, split, lambda table, metric: True).items():
            for metric, scoped in of_scope.items():
                values.setdefault(scope, {}).setdefault(metric, {})[split] = scoped.statistic.value()
    return values


def _result(results: ResultsByScope, scope: str, metric: str) -> BootstrapResult | None:
    return results.get(scope, {}).get("held_out", {}).get(metric)


def _through(points: Scored, nodes: Sequence[str]) -> ItemCurves:
    return ItemCurves.through([points[node][0] for node in nodes], [points[node][1] for node in nodes])


def _ends(points: Scored, nodes: Sequence[str]) -> tuple[float, float]:
    values = [points[node][0] for node in nodes]
    return min(values), max(values)


def _name(scope: str, metric: str) -> str:
    return metric if scope == SUITE else f"{scope}/{metric}"
