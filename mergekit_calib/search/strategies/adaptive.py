"""The strategy `adaptive`: a coarse grid on one axis, then the middles of intervals that may hold frontier points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mergekit_calib import pareto
from mergekit_calib.recipe import Axis, Number
from mergekit_calib.search.strategy import Strategy, search_strategy
from mergekit_calib.search.study import Evaluated, Proposal, Study

_LEAST_PROBABILITY = 0.05  # an interval is not halved if both ends are on the frontier in a smaller share of resamples


@search_strategy("adaptive")
class Adaptive(Strategy):
    """Halve the interval with the largest weight, until no interval is worth halving.

    The weight of an interval is a probability times a distance. The probability is that of the end that is more often
    on the frontier, over resamples of the items. The distance is that between the ends in the objectives, each scaled
    by its range, where a difference of less than four standard errors counts as four.

    If the ends differ by at most four standard errors in every objective (the width of a 95 % interval), the interval
    is halved only while it is wider than half an interval of the coarse grid: a point between the ends would lie within
    the confidence interval of one of them.

    Attributes:
        coarse: number of points of the first grid, both ends included.
        resolution: intervals of at most this width are not halved; None for a 64th of the axis.
    """

    needs_budget: ClassVar[bool] = False

    coarse: int = Field(default=5, strict=True, ge=3)
    resolution: Annotated[pareto.FiniteNumber, Field(gt=0)] | None = None

    @classmethod
    def fits(cls, axes: Mapping[str, Axis]) -> str | None:
        """Return a message unless there is exactly one axis and it has several numbers."""
        if len(axes) != 1:
            return f"adaptive searches one axis, and there are {len(axes)}: {', '.join(axes)}"
        ((name, axis),) = axes.items()
        if len(axis.numbers) > 1:
            return None
        return f"adaptive needs an axis of several numbers, and {name} has {len(axis.numbers) or 'none'}"

    def usual_points(self, axes: Mapping[str, Axis], n_parents: int) -> tuple[int, int | None, str]:
        """Return twice the coarse grid; at most, every interval is halved down to the resolution."""
        ((_, axis),) = axes.items()
        width = max(axis.numbers) - min(axis.numbers)
        halvings = math.ceil(math.log2(max(1.0, width / (self.coarse - 1) / (self.resolution or width / 64))))
        # A parent inside an interval makes two of it, which are halved as often.
        most = 1 + (self.coarse - 1 + n_parents) * 2**halvings
        most = most if axis.values is None else len(axis.numbers)
        usual = min(most, 2 * self.coarse + 1)
        return max(0, usual - n_parents), most, f"adaptive: a grid of {self.coarse}, then intervals are halved"

    def ask(self, study: Study) -> Proposal | None:
        """Return the next point of the coarse grid, or the middle of the interval with the largest weight."""
        ((name, axis),) = study.axes.items()
        low, high = min(axis.numbers), max(axis.numbers)
        for value in np.linspace(low, high, self.coarse):
            setting = {name: axis.place(float(value))}
            if not study.has(setting):
                return study.start(setting)
        return self.refine(study)

    def refine(self, study: Study) -> Proposal | None:
        """Return the middle of the interval with the largest weight; None if none is worth halving.

        Args:
            study: the points so far; the ends of the axis are scored.
        """
        ((name, axis),) = study.axes.items()
        low, high = min(axis.numbers), max(axis.numbers)
        resolution = self.resolution or (high - low) / 64
        intervals = self._uncertain_intervals(study, name, (high - low) / (2 * (self.coarse - 1)))
        for _, left, right in sorted(intervals, reverse=True):
            middle = _between(axis, left, right)
            if middle is None or right - left <= resolution * (1 + 1e-9):
                continue
            if not study.has({name: middle}):
                return study.start({name: middle})
        return None

    def _uncertain_intervals(self, study: Study, name: str, narrow_width: float) -> list[tuple[float, float, float]]:
        """Return the intervals between neighbours that are worth halving, each as its weight and its two ends.

        Args:
            study: the points so far.
            name: the axis.
            narrow_width: an interval of at most this width is left out if its ends do not differ beyond noise.
        """
        points = sorted((e for e in study.evaluated if name in e.setting), key=lambda e: float(e.setting[name]))
        if len(points) < 2:
            return []
        gains = pareto.gains([e.evaluation.values for e in points], study.directions)
        ranges = np.maximum(gains.max(axis=0) - gains.min(axis=0), 1e-12)
        probabilities = _frontier_probabilities(points, study.directions)
        running = [float(setting[name]) for setting in study.running]
        intervals = []
        for i in range(len(points) - 1):
            left, right = (float(e.setting[name]) for e in points[i : i + 2])
            if any(left < value < right for value in running):
                continue  # a worker is scoring a point inside it
            probability = float(probabilities[i : i + 2].max())
            difference = np.abs(gains[i + 1] - gains[i])
            noise = 4.0 * np.mean([np.std(e.evaluation.replicates, axis=0) for e in points[i : i + 2]], axis=0)
            within_noise = bool((difference <= noise).all()) and right - left <= narrow_width * (1 + 1e-9)
            if probability >= _LEAST_PROBABILITY and not within_noise:
                weight = probability * float(np.linalg.norm(np.maximum(difference, noise) / ranges))
                intervals.append((weight, left, right))
        return intervals


def _frontier_probabilities(points: Sequence[Evaluated], directions: pareto.Directions) -> NDArray[np.float64]:
    """Return the share of resamples in which each point is on the frontier, (n_points,); 0 for stopped points.

    The report corrects its resamples for bias by centring them. These are not centred: that would change which points a
    search proposes.
    """
    complete = [i for i, e in enumerate(points) if not e.stopped]
    shares = np.zeros(len(points))
    if complete:
        replicates = np.stack([points[i].evaluation.replicates.T for i in complete])
        shares[complete] = pareto.frontier_probabilities(replicates, directions)
    return shares


def _between(axis: Axis, left: float, right: float) -> Number | None:
    """Return the value nearest to the middle that lies strictly between; None if there is none."""
    middle = (left + right) / 2
    if axis.values is None:
        middle = axis.place(middle)  # type: ignore[assignment]
        return middle if left < middle < right else None
    inside = [value for value in axis.numbers if left < value < right]
    return min(inside, key=lambda value: abs(value - middle)) if inside else None
