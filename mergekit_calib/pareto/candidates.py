"""What a selection rule is given and gives back, and the frontier in units that objectives share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergekit_calib.pareto.dominance import Direction, FloatArray, gains, non_dominated

OptionCheck = Callable[[Any, Sequence[str]], list[str]]


@dataclass(frozen=True, eq=False)
class Candidates:
    """The points that a rule chooses from.

    Attributes:
        ids: (n_points,) unique names.
        objectives: (n_objectives,) names.
        directions: (n_objectives,).
        values: (n_points, n_objectives).
        parents: the parents' ids, each among `ids`.

    Raises:
        ValueError: shapes that do not fit, ids that repeat, parents that are not among them.
    """

    ids: tuple[str, ...]
    objectives: tuple[str, ...]
    directions: tuple[Direction, ...]
    values: FloatArray
    parents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        expected = (len(self.ids), len(self.objectives))
        if np.shape(self.values) != expected or len(self.directions) != len(self.objectives):
            raise ValueError(
                f"values of shape {np.shape(self.values)} and {len(self.directions)} directions "
                f"for {expected[0]} points and {expected[1]} objectives"
            )
        if len(set(self.ids)) != len(self.ids):
            raise ValueError(f"ids repeat: {', '.join(self.ids)}")
        if strangers := set(self.parents) - set(self.ids):
            raise ValueError(f"parents {', '.join(sorted(strangers))} are not among the points")

    def with_numbers(self) -> Candidates:
        """The points all of whose values are finite."""
        kept = np.flatnonzero(np.isfinite(self.values).all(axis=1))
        ids = tuple(self.ids[i] for i in kept)
        return Candidates(
            ids=ids,
            objectives=self.objectives,
            directions=self.directions,
            values=self.values[kept],
            parents=tuple(parent for parent in self.parents if parent in ids),
        )

    @cached_property
    def gains(self) -> FloatArray:
        """(n_points, n_objectives) the values, turned so that more is better."""
        return gains(self.values, self.directions)

    @cached_property
    def frontier(self) -> NDArray[np.intp]:
        """(n_frontier,) the indices of the non-dominated points."""
        return np.flatnonzero(non_dominated(self.values, self.directions))

    @cached_property
    def best(self) -> FloatArray:
        """(n_objectives,) the best gain on each objective."""
        top: FloatArray = self.gains[self.frontier].max(axis=0)
        return top

    @cached_property
    def ranges(self) -> FloatArray:
        """(n_objectives,) worst to best on the frontier, the yardstick of each objective; 1 where all are equal."""
        span: FloatArray = self.best - self.gains[self.frontier].min(axis=0)
        return np.where(span > 0, span, 1.0)

    @cached_property
    def regrets(self) -> FloatArray:
        """(n_points, n_objectives) how far short of the best, in frontier ranges: 0 to 1 on the frontier."""
        return (self.best - self.gains) / self.ranges

    def least(self, among: NDArray[np.intp], *scores: FloatArray, first: int = 0) -> int:
        """The index among `among` with the smallest score; ties go to the next score, then to better values.

        Args:
            among: (n,) indices of points, at least one.
            scores: each (n,), in the order of `among`.
            first: the objective whose values break ties before the others'.
        """
        values = np.roll(-self.gains[among], -first, axis=1)
        # Rounded, as a tie that only rounding breaks would fall with the order of the points.
        keys = [*(np.round(score, 9) for score in scores), *values.T]
        return int(among[np.lexsort(keys[::-1])[0]])

    def describe(self, index: int) -> str:
        """A point by name with its values, as `lambda=0.6 (acc 0.743, ece 0.051)`."""
        return f"{self.ids[index]} ({self.worded(self.values[index])})"

    def worded(self, values: Sequence[float] | FloatArray) -> str:
        """Values of the objectives with their names, as `acc 0.743, ece 0.051`."""
        return ", ".join(f"{name} {value:.4g}" for name, value in zip(self.objectives, values, strict=True))


@dataclass(frozen=True)
class Choice:
    """The point that a rule chose, and why in one sentence with its numbers."""

    id: str
    reason: str


@dataclass(frozen=True)
class SelectionRule:
    """A way to choose one point.

    Attributes:
        choose: candidates, at least one, all finite, and the rule's options, already checked → the choice.
        options: the options it takes: name → check of a given value, with the objectives' names → its problems.
        required: the options that must be given.
    """

    choose: Callable[[Candidates, Mapping[str, Any]], Choice]
    options: Mapping[str, OptionCheck] = field(default_factory=dict)
    required: tuple[str, ...] = ()
