"""`adaptive`: on one axis, a coarse grid, then halves of the intervals where the frontier is uncertain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import pareto
from mergekit_calib.recipe import Axis, Number
from mergekit_calib.search.strategy import StrategyKind, positive, whole_number
from mergekit_calib.search.study import Evaluated, Proposal, Study

_NO_MATTER = 0.05  # an end that is on the frontier in fewer resamples than this share does not make its interval matter


@dataclass(frozen=True)
class Adaptive:
    """Halves the interval that may hide most of the frontier, until chance hides more than the intervals do.

    An interval counts by how often (over resampled items) one of its ends is on the frontier, times the distance of
    its ends in the objectives. One whose ends differ by less than four standard errors of a value, the width of its
    95 % interval, is done once it is half as wide as the coarse grid's: a point between them would lie within the
    interval of one of them.

    Attributes:
        coarse: points of the first grid, both ends included.
        resolution: intervals no wider than this are not halved; None for a 64th of the axis.
    """

    coarse: int = 5
    resolution: float | None = None

    def ask(self, study: Study) -> Proposal | None:
        ((name, axis),) = study.axes.items()
        low, high = min(axis.numbers), max(axis.numbers)
        for place in np.linspace(low, high, self.coarse):
            setting = {name: axis.place(float(place))}
            if not study.has(setting):
                return study.start(setting)
        resolution = self.resolution or (high - low) / 64
        halves = self._halves(study, name, (high - low) / (2 * (self.coarse - 1)))
        for _, left, right in sorted(halves, reverse=True):
            middle = _between(axis, left, right)
            if middle is None or right - left <= resolution * (1 + 1e-9):
                continue
            if not study.has({name: middle}):
                return study.start({name: middle})
        return None

    def _halves(self, study: Study, name: str, narrow: float) -> list[tuple[float, float, float]]:
        """The intervals worth halving between neighbours: how much each counts, and its ends."""
        points = sorted((k for k in study.known if name in k.setting), key=lambda k: float(k.setting[name]))
        if len(points) < 2:
            return []
        signs = np.array([1.0 if d == "maximize" else -1.0 for d in study.directions])
        gains = signs * np.array([k.measured.values for k in points])
        ranges = np.maximum(gains.max(axis=0) - gains.min(axis=0), 1e-12)
        on_frontier = _chance_on_frontier(points, study.directions)
        others = [float(setting[name]) for setting in study.running]
        found = []
        for i in range(len(points) - 1):
            left, right = (float(k.setting[name]) for k in points[i : i + 2])
            if any(left < place < right for place in others):
                continue  # someone is on it
            matter = float(on_frontier[i : i + 2].max())
            difference = np.abs(gains[i + 1] - gains[i])
            noise = 4.0 * np.mean([np.std(k.measured.replicates, axis=0) for k in points[i : i + 2]], axis=0)
            settled = bool((difference <= noise).all()) and right - left <= narrow * (1 + 1e-9)
            if matter >= _NO_MATTER and not settled:
                found.append((matter * float(np.linalg.norm(np.maximum(difference, noise) / ranges)), left, right))
        return found


def _chance_on_frontier(points: list[Evaluated], directions: Sequence[pareto.Direction]) -> NDArray[np.float64]:
    """(n_points,) in which share of the resamples each point is non-dominated; stopped points are on it in none."""
    whole = [i for i, k in enumerate(points) if not k.stopped]
    shares = np.zeros(len(points))
    if whole:
        replicates = np.stack([points[i].measured.replicates for i in whole])  # points, resamples, objectives
        each = [pareto.non_dominated(replicates[:, r], directions) for r in range(replicates.shape[1])]
        shares[whole] = np.mean(each, axis=0)
    return shares


def _between(axis: Axis, left: float, right: float) -> Number | None:
    """The value nearest to the middle that lies strictly between; None if there is none."""
    middle = (left + right) / 2
    if axis.values is None:
        middle = axis.place(middle)  # type: ignore[assignment]
        return middle if left < middle < right else None
    inside = [value for value in axis.numbers if left < value < right]
    return min(inside, key=lambda value: abs(value - middle)) if inside else None


def _fits(axes: Mapping[str, Axis]) -> str | None:
    if len(axes) != 1:
        return f"adaptive searches one axis, and there are {len(axes)}: {', '.join(axes)}"
    ((name, axis),) = axes.items()
    return None if len(axis.numbers) > 1 else f"adaptive needs an axis of several numbers, and {name} has none"


def _make(options: Mapping[str, Any]) -> Adaptive:
    return Adaptive(options.get("coarse", 5), options.get("resolution"))


ADAPTIVE = StrategyKind(
    _make, options={"coarse": whole_number(3), "resolution": positive}, needs_budget=False, fits=_fits
)
