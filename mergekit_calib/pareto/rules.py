"""The built-in ways to choose a point. All but `best_within_bounds` choose from the frontier.

Objectives are made comparable by their ranges over the frontier (or the frontier and the parents), so that no choice
changes when a dominated point is added (save under a bound that shuts out the better side of an objective).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mergekit_calib.pareto.candidates import Candidates, Choice
from mergekit_calib.pareto.dominance import FloatArray


def knee(candidates: Candidates, _: Mapping[str, Any]) -> Choice:
    """The frontier point with the least sum of regrets: the shortfalls from the best of each objective, in ranges.

    With two objectives that is the point furthest beyond the straight line between the frontier's ends (Das 1999;
    Branke et al. 2004), as 1 − the sum is √2 times that distance. With more, it is the distance from the plane of
    equal sums, which needs no ends that span a plane. Where nothing lies beyond the line (a frontier of two points,
    or a hollow one) the end that is best on the first objective is chosen.
    """
    among = candidates.frontier
    total = candidates.regrets[among].sum(axis=1)
    chosen = candidates.least(among, total)
    name = candidates.describe(chosen)
    if len(among) == 1:
        return _choice(candidates, chosen, f"{name} is the only point on the frontier")
    if len(candidates.objectives) != 2:
        reason = (
            f"{name} gives up the least of the best on each objective, {total.min():.2f} of the frontier's ranges "
            f"in all, of {len(among)} frontier points"
        )
        return _choice(candidates, chosen, reason)
    ends = [candidates.least(among, -candidates.gains[among, k], first=k) for k in (0, 1)]
    line = f"the line between the frontier's ends, {candidates.describe(ends[0])} and {candidates.describe(ends[1])}"
    beyond = (1.0 - candidates.regrets[chosen].sum()) / np.sqrt(2.0)
    if round(beyond, 9) <= 0:
        best = candidates.objectives[0]
        reason = f"none of {len(among)} frontier points lies beyond {line}, so the one with the best {best} is taken"
        return _choice(candidates, chosen, reason)
    reason = (
        f"{name} is the knee: of {len(among)} frontier points it lies furthest beyond {line}, "
        f"by {beyond:.2f} with each objective's range as 1"
    )
    return _choice(candidates, chosen, reason)


def best_within_bounds(candidates: Candidates, options: Mapping[str, Any]) -> Choice:
    """`max`: the best of one objective among the points that keep bounds on any; a minimised one's best is its least.

    Where no point keeps the bounds, the one with the least sum of excesses, each in the objective's range over the
    frontier. Ties go to the better on the other objectives.
    """
    objective, bounds = str(options["objective"]), options.get("bounds", {})
    k = candidates.objectives.index(objective)
    everything = np.arange(len(candidates.ids))
    excess = _excess(candidates, bounds)
    total = excess.sum(axis=1)
    keeping = everything[total == 0]
    limits = " and ".join(_limit(name, bound) for name, bound in bounds.items())
    if len(keeping):
        chosen = candidates.least(keeping, first=k)
        of = f"{len(keeping)} of {len(everything)} points with {limits}" if bounds else f"{len(everything)} points"
        return _choice(candidates, chosen, f"{candidates.describe(chosen)} has the best {objective} of {of}")
    chosen = candidates.least(everything, total, first=k)
    broken = [name for name, by in zip(candidates.objectives, excess[chosen], strict=True) if by > 0]
    reason = (
        f"none of {len(everything)} points has {limits}; {candidates.describe(chosen)} comes nearest, "
        f"missing the bound{'s' * (len(broken) > 1)} on {' and '.join(broken)}"
    )
    return _choice(candidates, chosen, reason)


def pareto_superior(candidates: Candidates, options: Mapping[str, Any]) -> Choice:
    """The point that dominates every parent, as measured, with the largest gain on the objective where it gains least.

    Gains are over the better parent, in the objective's range over frontier and parents together. Where no point
    dominates every parent, the knee. Whether the gain is beyond chance is for `superiority` to say.
    """
    parents = [candidates.ids.index(parent) for parent in candidates.parents]
    if not parents:
        return _instead(candidates, "no parent is among the points")
    gains, theirs = candidates.gains, candidates.gains[parents]
    among = np.array([i for i in candidates.frontier if _dominates_all(gains[i], theirs)], dtype=np.intp)
    named = " and ".join(candidates.describe(p) for p in parents)
    if not len(among):
        return _instead(candidates, f"no point is at least as good as {named} on every objective and better on one")
    measured = np.concatenate([gains[candidates.frontier], theirs])
    ranges = measured.max(axis=0) - measured.min(axis=0)
    differing = ranges > 0
    over_best = ((gains[among] - theirs.max(axis=0)) / np.where(differing, ranges, 1.0))[:, differing]
    chosen = candidates.least(among, -over_best.min(axis=1), -over_best.sum(axis=1))
    single = len(among) == 1
    reason = (
        f"{candidates.describe(chosen)} is {'the one point' if single else f'one of {len(among)} points'} at least as "
        f"good as {named} on every objective and better on one"
        + ("" if single else ", and gains most where it gains least")
    )
    return _choice(candidates, chosen, reason)


def weighted(candidates: Candidates, options: Mapping[str, Any]) -> Choice:
    """The frontier point whose largest weighted regret is least (weighted Chebyshev; Steuer and Choo 1983).

    A regret is the shortfall from the best of an objective, in its range over the frontier. Objectives without a
    weight have 1; ties go to the smaller weighted sum. Unlike a weighted sum, this reaches points on hollow parts of
    a frontier too.
    """
    given = options.get("weights", {})
    weights = np.array([float(given.get(name, 1.0)) for name in candidates.objectives])
    among = candidates.frontier
    shortfalls = weights * candidates.regrets[among]
    chosen = candidates.least(among, shortfalls.max(axis=1), shortfalls.sum(axis=1))
    worst = weights * candidates.regrets[chosen]
    k = int(worst.argmax())
    reason = (
        f"{candidates.describe(chosen)} has the smallest worst weighted shortfall of {len(among)} frontier points, "
        f"{worst[k]:.2g} of the range of {candidates.objectives[k]} (weights {candidates.worded(weights)})"
    )
    return _choice(candidates, chosen, reason)


def nearest(candidates: Candidates, options: Mapping[str, Any]) -> Choice:
    """The frontier point that falls least short of an ideal one: Euclidean, in ranges over the frontier.

    Being better than the ideal on an objective is no distance from it. Objectives that `ideal` does not name have
    their best on the frontier (with none named, the utopia point; Zeleny 1973). Ties go to better values.
    """
    given = options.get("ideal", {})
    signs = np.array([1.0 if d == "maximize" else -1.0 for d in candidates.directions])
    named = zip(candidates.objectives, candidates.best * signs, strict=True)
    ideal = np.array([float(given.get(name, best)) for name, best in named])
    among = candidates.frontier
    short = np.maximum(ideal * signs - candidates.gains[among], 0.0) / candidates.ranges
    distance: FloatArray = np.sqrt((short**2).sum(axis=1))
    chosen = candidates.least(among, distance)
    reason = (
        f"{candidates.describe(chosen)} is the nearest of {len(among)} frontier points to {candidates.worded(ideal)}, "
        f"{distance.min():.2g} away with each objective's range as 1"
    )
    return _choice(candidates, chosen, reason)


def _choice(candidates: Candidates, index: int, reason: str) -> Choice:
    return Choice(id=candidates.ids[index], reason=reason)


def _instead(candidates: Candidates, why: str) -> Choice:
    choice = knee(candidates, {})
    return Choice(id=choice.id, reason=f"{why}, so the knee is taken: {choice.reason}")


def _dominates_all(gains: FloatArray, others: FloatArray) -> bool:
    return bool(((gains >= others).all(axis=1) & (gains > others).any(axis=1)).all())


def _excess(candidates: Candidates, bounds: Mapping[str, Mapping[str, float]]) -> FloatArray:
    """(n_points, n_objectives) how far each value is outside its bounds, in frontier ranges."""
    excess = np.zeros_like(candidates.values)
    for name, bound in bounds.items():
        k = candidates.objectives.index(name)
        below = bound.get("min", -np.inf) - candidates.values[:, k]
        above = candidates.values[:, k] - bound.get("max", np.inf)
        excess[:, k] = np.maximum(np.maximum(below, above), 0.0) / candidates.ranges[k]
    return excess


def _limit(name: str, bound: Mapping[str, float]) -> str:
    words = {"min": "at least", "max": "at most"}
    return f"{name} " + " and ".join(f"{words[side]} {bound[side]:g}" for side in ("min", "max") if side in bound)
