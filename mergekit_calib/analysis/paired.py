"""Comparisons of points on the same resamples: objectives as arrays, paired differences, shares recovered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import metrics, pareto
from mergekit_calib.analysis.estimation import Results, ResultsByScope
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


def centred(results: Sequence[Results], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Return `replicates`, shifted so that their mean over resamples is the value on the items themselves."""
    return metrics.centred(replicates(results, objectives), values(results, objectives))


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
        for i, mine in enumerate(results):
            for j, theirs in enumerate(results[:i]):
                errors[i, j, k] = errors[j, i, k] = _standard_error(mine[objective.name], theirs[objective.name])
    return errors


def _standard_error(mine: BootstrapResult, theirs: BootstrapResult) -> float:
    with np.errstate(invalid="ignore"):
        of_items = _item_differences(mine, theirs)
        if of_items is None:
            return float(np.std(mine.replicates - theirs.replicates, ddof=1))
        return float(np.sqrt(of_items @ of_items) / len(of_items))


def _item_differences(mine: BootstrapResult, theirs: BootstrapResult) -> NDArray[np.float64] | None:
    """Return (n_items,) numbers whose mean is the difference; None unless both are means over the same items."""
    first, second = mine.contributions, theirs.contributions
    if first is None or second is None or mine.counted is None or theirs.counted is None:
        return None
    return first - second if np.array_equal(mine.counted, theirs.counted) else None


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
    both = [o for o in objectives if o.name in mine and o.name in theirs]
    if not both:
        return {}
    drawn = replicates([mine], both) - replicates([theirs], both)
    observed = values([mine], both) - values([theirs], both)
    p = pareto.gain_p_values(drawn[:, None], [o.direction for o in both], observed[:, None])
    by_name = {}
    for k, objective in enumerate(both):
        value, low, high = _with_interval(observed[0, k], drawn[0, k], level)
        by_name[objective.name] = Difference(
            value=value, low=low, high=high, n=n.get(objective.name, 0), p=float(p[0, 0, k])
        )
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
            value, low, high = _with_interval(result.value - other.value, result.replicates - other.replicates, level)
            n = estimates[scope][metric]["held_out"].n
            name = metric if scope == SUITE else f"{scope}/{metric}"
            by_name[name] = Difference(value=value, low=low, high=high, n=n)
    return by_name


def _with_interval(observed: float, drawn: NDArray[np.float64], level: float) -> list[float | None]:
    """Return a difference and the ends of its centred interval; None in place of a number that is not finite.

    An end of the interval that is 0 before centring stays 0. If two models differ in few items, many resamples contain
    none of these and have a difference of 0; that centring shifts them away from 0 is no evidence of a difference.
    """
    replicates = np.nan_to_num(drawn, nan=np.inf, posinf=np.inf, neginf=-np.inf)
    ends = zip(metrics.centred_interval(replicates, observed, level), metrics.interval(replicates, level), strict=True)
    low, high = (0.0 if plain == 0.0 else centred_end for centred_end, plain in ends)
    return [float(x) if np.isfinite(x) else None for x in (observed, low, high)]


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
        gain, cost = mine[name].value - aligned[name].value, base[name].value - aligned[name].value
        if not (np.isfinite(gain) and np.isfinite(cost)) or cost == 0.0:
            continue
        gains = metrics.centred(mine[name].replicates - aligned[name].replicates, gain)
        costs = metrics.centred(base[name].replicates - aligned[name].replicates, cost)
        span: tuple[float | None, float | None] = (None, None)
        if np.isfinite(gains).all() and np.isfinite(costs).all():
            least, most = metrics.interval(costs, level)
            if least > 0.0 or most < 0.0:
                same_sign = np.sign(costs) == np.sign(cost)
                span = metrics.interval(gains[same_sign] / costs[same_sign], level)
        shares[name] = Estimate(value=gain / cost, low=span[0], high=span[1], n=n.get(name, 0))
    return shares
