"""Comparisons of points on the same resamples: objectives as arrays, paired differences, shares recovered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import metrics
from mergekit_calib.analysis.estimation import Results, ResultsByScope
from mergekit_calib.analysis.paired_difference import PairedDifference, contributions_to_same_items
from mergekit_calib.items.table import Split
from mergekit_calib.metrics import BootstrapResult
from mergekit_calib.results.findings import SUITE, Difference, Estimate, Objective


def of_objectives(results: ResultsByScope, objectives: Sequence[Objective], split: Split) -> dict[str, BootstrapResult]:
    """Return the results of the objectives on `split`, by name; an objective without a result is left out."""
    by_name = {o.name: results.get(o.scope, {}).get(split, {}).get(o.key) for o in objectives}
    return {name: result for name, result in by_name.items() if result is not None}


def values(results: Sequence[Results], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Return the values of the objectives on the items themselves: (n_points, n_objectives)."""
    return np.array([[point[o.name].value for o in objectives] for point in results])


def replicates(results: Sequence[Results], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Return the values of the objectives on each resample: (n_points, n_objectives, n_resamples)."""
    return np.array([[point[o.name].replicates for o in objectives] for point in results])


def comparable_replicates(results: Sequence[Results], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Return `replicates` in which points can be ranked on each resample: (n_points, n_objectives, n_resamples).

    Means over items are as they were drawn: centring them would break exact ties between points by the error of their
    1,000 resamples' mean, and a point is on the frontier if another ties with it. Other statistics are biased on
    resamples, and are centred. Values that differ only by floating-point error are made equal.

    Args:
        results: (n_points,) on the same resamples.
        objectives: the objectives.
    """
    drawn = replicates(results, objectives)
    for i, point in enumerate(results):
        for k, objective in enumerate(objectives):
            if point[objective.name].contributions is None:
                drawn[i, k] = metrics.centred(drawn[i, k], point[objective.name].value)
    for k in range(len(objectives)):
        drawn[:, k] = _with_exact_ties(drawn[:, k])
    return drawn


def _with_exact_ties(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n_points, n_resamples) values in which nearly equal ones of a resample are equal, to their least."""
    order = np.argsort(drawn, axis=0)
    ascending = np.take_along_axis(drawn, order, axis=0)
    finite = np.abs(drawn[np.isfinite(drawn)])
    with np.errstate(invalid="ignore"):
        alike = np.diff(ascending, axis=0) <= metrics.ROUNDING * finite.max(initial=1.0)
    for i, same in enumerate(alike, start=1):
        ascending[i] = np.where(same, ascending[i - 1], ascending[i])
    tied = np.empty_like(drawn)
    np.put_along_axis(tied, order, ascending, axis=0)
    return tied


def standard_errors(results: Sequence[Results], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Return the standard error of the difference of each two points: (n_points, n_points, n_objectives), 0 to inf.

    Of means over the same items: the root of Σ d², divided by n, where d are the items' differences. It does not
    depend on the resamples, and is the standard deviation of the difference if the sign of each d is random; its square
    is the variance in McNemar's test of accuracy. Of other statistics: the standard deviation of the differences of
    their replicates. It is inf or NaN if an item, or a replicate, of either point is infinite or not defined.

    Args:
        results: (n_points,) on the same resamples.
        objectives: the objectives.
    """
    errors = np.zeros((len(results), len(results), len(objectives)))
    for k, objective in enumerate(objectives):
        column = [point[objective.name] for point in results]
        of_items = contributions_to_same_items(column)
        for i in range(1, len(results)):
            if of_items is not None:
                errors[i, :i, k] = _roots_of_squares(of_items[:i], of_items[i])
            else:
                errors[i, :i, k] = [PairedDifference.of(column[i], other).standard_error for other in column[:i]]
        errors[:, :, k] += errors[:, :, k].T
    return errors


def _roots_of_squares(theirs: NDArray[np.float64], mine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard errors of one point's differences, (n_points,), from contributions (n_points, n_items)."""
    with np.errstate(invalid="ignore"):
        differences = theirs - mine
        errors: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", differences, differences)) / len(mine)
        # Of points that are scored alike, only floating-point error differs.
        errors[errors <= metrics.ROUNDING * np.abs(mine[np.isfinite(mine)]).max(initial=0.0)] = 0.0
    return errors


def gain_p_values(
    mine: Sequence[Results], theirs: Sequence[Results], objectives: Sequence[Objective]
) -> NDArray[np.float64]:
    """Return the one-sided p of each gain in the objective's direction: (n_mine, n_theirs, n_objectives), 0 to 1.

    Of means over the same items by `metrics.sign_flip_p_value`, of other statistics by `metrics.bootstrap_p_value`. A
    gain that is not finite, on the items or on a resample, has p = 1.

    Args:
        mine: results of the points that may be better.
        theirs: results of the points that they are compared with, on the same resamples.
        objectives: the objectives.
    """
    p = np.empty((len(mine), len(theirs), len(objectives)))
    for i, point in enumerate(mine):
        for j, other in enumerate(theirs):
            for k, o in enumerate(objectives):
                p[i, j, k] = PairedDifference.of(point[o.name], other[o.name]).p_value(_sign(o))
    return p


def _sign(objective: Objective) -> float:
    return 1.0 if objective.direction == "maximize" else -1.0


def differences(
    mine: Results, theirs: Results, objectives: Sequence[Objective], level: float, n: Mapping[str, int]
) -> dict[str, Difference]:
    """Return objective name → paired difference, mine minus theirs, for the objectives that both have.

    Args:
        mine: one model's results.
        theirs: another model's results, on the same resamples.
        objectives: the objectives to compare.
        level: the confidence level of intervals.
        n: objective name → the number of items.
    """
    by_name = {}
    for objective in (o for o in objectives if o.name in mine and o.name in theirs):
        difference = PairedDifference.of(mine[objective.name], theirs[objective.name])
        value, low, high = _finite(difference.value, *difference.interval(level))
        p = difference.p_value(_sign(objective))
        by_name[objective.name] = Difference(value=value, low=low, high=high, n=n.get(objective.name, 0), p=p)
    return by_name


def changes(start: Results, end: Results) -> dict[str, BootstrapResult]:
    """Return the change of each result from `start` to `end`, without intervals, for a difference in differences."""
    by_name = {}
    for name in (name for name in start if name in end):
        drawn = end[name].replicates - start[name].replicates
        by_name[name] = BootstrapResult(end[name].value - start[name].value, np.nan, np.nan, drawn)
    return by_name


def metric_differences(
    mine: Mapping[str, Results],
    theirs: Mapping[str, Results],
    estimates: Mapping[str, Mapping[str, Mapping[str, Estimate]]],
    level: float,
) -> dict[str, Difference]:
    """Return name → paired difference, mine minus theirs, for every metric of every scope, without p-values.

    The names are those that objectives would have.

    Args:
        mine: scope → metric → result.
        theirs: scope → metric → another model's result, on the same resamples.
        estimates: scope → metric → split → estimate, for the numbers of items.
        level: the confidence level of intervals.
    """
    by_name = {}
    for scope, metrics_here in mine.items():
        for metric, result in metrics_here.items():
            other = theirs.get(scope, {}).get(metric)
            if other is None:
                continue
            difference = PairedDifference.of(result, other)
            value, low, high = _finite(difference.value, *difference.interval(level))
            n = estimates[scope][metric]["held_out"].n
            name = metric if scope == SUITE else f"{scope}/{metric}"
            by_name[name] = Difference(value=value, low=low, high=high, n=n)
    return by_name


def _finite(*numbers: float) -> list[float | None]:
    """Return the numbers, with None in place of one that is not finite."""
    return [float(x) if np.isfinite(x) else None for x in numbers]


def shares_recovered(
    mine: Results, base: Results, aligned: Results, level: float, n: Mapping[str, int]
) -> dict[str, Estimate]:
    """Return name → the share of aligned's change from base that a point undoes: 0 is aligned's value, 1 is base's.

    The interval is that of the ratio over the shared resamples in which the parents differ in the same direction as on
    the items themselves. There is none if the interval of the parents' difference contains 0, since the ratio is then
    unbounded.

    Args:
        mine: the point's results.
        base: the base model's results.
        aligned: the aligned model's results.
        level: the confidence level of intervals.
        n: name → the number of items.
    """
    shares = {}
    for name in (name for name in mine if name in base and name in aligned):
        gain, cost = (PairedDifference.of(one[name], aligned[name]) for one in (mine, base))
        if not (np.isfinite(gain.value) and np.isfinite(cost.value)) or cost.value == 0.0:
            continue
        gains, costs = (
            each.replicates if each.is_mean else metrics.centred(each.replicates, each.value) for each in (gain, cost)
        )
        span: tuple[float | None, float | None] = (None, None)
        if np.isfinite(gains).all() and np.isfinite(costs).all():
            least, most = cost.interval(level)
            if least > 0.0 or most < 0.0:
                same_sign = np.sign(costs) == np.sign(cost.value)
                span = metrics.interval(gains[same_sign] / costs[same_sign], level)
        shares[name] = Estimate(value=gain.value / cost.value, low=span[0], high=span[1], n=n.get(name, 0))
    return shares
