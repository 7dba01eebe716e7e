"""The objectives of points over the shared resamples: as arrays, and as paired differences of two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import metrics, pareto
from mergekit_calib.analysis.estimation import Measures
from mergekit_calib.items.table import Split
from mergekit_calib.metrics import BootstrapResult
from mergekit_calib.results.findings import SUITE, Difference, Estimate, Objective

Results = Mapping[str, BootstrapResult]  # objective name, or metric →


def of_objectives(measures: Measures, objectives: Sequence[Objective], split: Split) -> dict[str, BootstrapResult]:
    """The objectives' results on `split`; those that there are."""
    found = {o.name: measures.get(o.scope, {}).get(split, {}).get(o.metric) for o in objectives}
    return {name: result for name, result in found.items() if result is not None}


def values(results: Sequence[Results], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """(n_points, n_objectives) on the items themselves."""
    return np.array([[point[o.name].value for o in objectives] for point in results])


def replicates(results: Sequence[Results], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """(n_points, n_objectives, n_resamples) as resampled."""
    return np.array([[point[o.name].replicates for o in objectives] for point in results])


def centred(results: Sequence[Results], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """(n_points, n_objectives, n_resamples) with the shift of resampling taken out."""
    return metrics.centred(replicates(results, objectives), values(results, objectives))


def differences(
    mine: Results, theirs: Results, objectives: Sequence[Objective], level: float, n: Mapping[str, int]
) -> dict[str, Difference]:
    """Objective name → paired difference, mine minus theirs, for those that both have.

    Args:
        n: objective name → the number of items.
    """
    both = [o for o in objectives if o.name in mine and o.name in theirs]
    if not both:
        return {}
    drawn = replicates([mine], both) - replicates([theirs], both)
    observed = values([mine], both) - values([theirs], both)
    p = pareto.gain_p_values(drawn[:, None], [o.direction for o in both], observed[:, None])
    found = {}
    for k, objective in enumerate(both):
        finite = _with_interval(observed[0, k], drawn[0, k], level)
        found[objective.name] = Difference(
            value=finite[0], low=finite[1], high=finite[2], n=n.get(objective.name, 0), p=float(p[0, 0, k])
        )
    return found


def changes(start: Results, end: Results) -> dict[str, BootstrapResult]:
    """Name → what it changes by, as a result that can be compared in its turn; its interval is not needed."""
    found = {}
    for name in (name for name in start if name in end):
        drawn = end[name].replicates - start[name].replicates
        found[name] = BootstrapResult(end[name].value - start[name].value, np.nan, np.nan, drawn)
    return found


def plain_differences(
    mine: Mapping[str, Results],
    theirs: Mapping[str, Results],
    estimates: Mapping[str, Mapping[str, Mapping[str, Estimate]]],
    level: float,
) -> dict[str, Difference]:
    """Paired differences, mine minus theirs, of every metric of every scope, whose direction is not asked: without p.

    Args:
        mine, theirs: scope → metric → result.
        estimates: scope → metric → split → estimate, for the numbers of items.
    """
    found = {}
    for scope, metrics_here in mine.items():
        for metric, result in metrics_here.items():
            other = theirs.get(scope, {}).get(metric)
            if other is None:
                continue
            finite = _with_interval(result.value - other.value, result.replicates - other.replicates, level)
            n = estimates[scope][metric]["held_out"].n
            name = metric if scope == SUITE else f"{scope}/{metric}"
            found[name] = Difference(value=finite[0], low=finite[1], high=finite[2], n=n)
    return found


def _with_interval(observed: float, drawn: NDArray[np.float64], level: float) -> list[float | None]:
    """A difference and its centred interval; None for what is not finite.

    An end that is 0 stays so: of models that answer all but a few items alike, many resamples hold no difference, and
    what taking the shift out adds to those, by chance, is no evidence.
    """
    replicates = np.nan_to_num(drawn, nan=np.inf, posinf=np.inf, neginf=-np.inf)
    ends = zip(metrics.centred_interval(replicates, observed, level), metrics.interval(replicates, level), strict=True)
    return [float(x) if np.isfinite(x) else None for x in (observed, *(0.0 if p == 0.0 else c for c, p in ends))]


def shares_recovered(
    mine: Results, base: Results, aligned: Results, level: float, n: Mapping[str, int]
) -> dict[str, Estimate]:
    """Name → the share of what lies between the parents that a point gives back: 0 as aligned, 1 as base.

    The interval is that of the ratio over the shared resamples in which the parents differ in the direction that they
    do. There is none where an interval of the parents' difference holds 0: then it might be any share.

    Args:
        n: name → the number of items.
    """
    found = {}
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
        found[name] = Estimate(value=gain / cost, low=span[0], high=span[1], n=n.get(name, 0))
    return found
