"""Points compared on the resamples that they share: their objectives as arrays, and paired differences."""

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
    by_name = {o.name: results.get(o.scope, {}).get(split, {}).get(o.metric) for o in objectives}
    return {name: result for name, result in by_name.items() if result is not None}


def values(results: Sequence[Results], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Return the objectives on the items themselves, (n_points, n_objectives)."""
    return np.array([[point[o.name].value for o in objectives] for point in results])


def replicates(results: Sequence[Results], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Return the objectives on each resample, (n_points, n_objectives, n_resamples)."""
    return np.array([[point[o.name].replicates for o in objectives] for point in results])


def centred(results: Sequence[Results], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Return the objectives on each resample, moved so that their mean is the value on the items themselves."""
    return metrics.centred(replicates(results, objectives), values(results, objectives))


def differences(
    mine: Results, theirs: Results, objectives: Sequence[Objective], level: float, n: Mapping[str, int]
) -> dict[str, Difference]:
    """Return the paired difference, mine minus theirs, of each objective that both have, by its name.

    Args:
        mine: one model's results.
        theirs: another model's results, on the same resamples.
        objectives: those to compare.
        level: of the intervals.
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
    """Return the change of each result from `start` to `end`, to be compared with other changes; without intervals."""
    by_name = {}
    for name in (name for name in start if name in end):
        drawn = end[name].replicates - start[name].replicates
        by_name[name] = BootstrapResult(end[name].value - start[name].value, np.nan, np.nan, drawn)
    return by_name


def plain_differences(
    mine: Mapping[str, Results],
    theirs: Mapping[str, Results],
    estimates: Mapping[str, Mapping[str, Mapping[str, Estimate]]],
    level: float,
) -> dict[str, Difference]:
    """Return the paired difference, mine minus theirs, of every metric of every scope, named as an objective is.

    Metrics have no direction here, so there is no p.

    Args:
        mine: scope → metric → result.
        theirs: the same of another model, on the same resamples.
        estimates: scope → metric → split → estimate, for the numbers of items.
        level: of the intervals.
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

    An end of the interval that is 0 before centring stays 0. Where two models answer all but a few items alike, many
    resamples hold no difference at all, and the small shift that centring adds to those is no evidence of one.
    """
    replicates = np.nan_to_num(drawn, nan=np.inf, posinf=np.inf, neginf=-np.inf)
    ends = zip(metrics.centred_interval(replicates, observed, level), metrics.interval(replicates, level), strict=True)
    return [float(x) if np.isfinite(x) else None for x in (observed, *(0.0 if p == 0.0 else c for c, p in ends))]


def shares_recovered(
    mine: Results, base: Results, aligned: Results, level: float, n: Mapping[str, int]
) -> dict[str, Estimate]:
    """Return, by metric, the share of aligned's change from base that a point undoes: 0 as aligned, 1 as base.

    The interval is that of the ratio over the shared resamples in which the parents differ in the same direction as on
    the items themselves. There is none where the interval of the parents' difference holds 0: then any share is
    possible.

    Args:
        mine: the point's results.
        base: the base parent's.
        aligned: the aligned parent's.
        level: of the intervals.
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
                alike = np.sign(costs) == np.sign(cost)
                span = metrics.interval(gains[alike] / costs[alike], level)
        shares[name] = Estimate(value=gain / cost, low=span[0], high=span[1], n=n.get(name, 0))
    return shares
