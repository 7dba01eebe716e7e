"""The points that a selection rule chooses from, with their frontier and regrets, and the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mergekit_calib.pareto.dominance import Direction, FloatArray, gains, non_dominated
from mergekit_calib.results.names import point_name


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
        ValueError: shapes do not fit together, ids repeat, or a parent is not among the points.
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

    def with_finite_values(self) -> Candidates:
        """Return the candidates without the points that have a value that is not finite."""
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
        """The values with a sign such that more is better: (n_points, n_objectives)."""
        return gains(self.values, self.directions)

    @cached_property
    def frontier(self) -> NDArray[np.intp]:
        """The indices of the non-dominated points: (n_frontier,)."""
        return np.flatnonzero(non_dominated(self.values, self.directions))

    @cached_property
    def best(self) -> FloatArray:
        """The best gain on each objective: (n_objectives,)."""
        top: FloatArray = self.gains[self.frontier].max(axis=0)
        return top

    @cached_property
    def ranges(self) -> FloatArray:
        """The range of each objective on the frontier: (n_objectives,); 1 where all values are equal."""
        span: FloatArray = self.best - self.gains[self.frontier].min(axis=0)
        return np.where(span > 0, span, 1.0)

    @cached_property
    def regrets(self) -> FloatArray:
        """The distance from the best value, divided by the range: (n_points, n_objectives), 0 to 1 on the frontier."""
        return (self.best - self.gains) / self.ranges

    def least(self, among: NDArray[np.intp], *scores: FloatArray, first: int = 0) -> int:
        """Return the index with the smallest score; ties go to the next score, then to better values.

        Args:
            among: (n,) indices of points, at least one.
            scores: each (n,), in the order of `among`.
            first: the objective whose values break ties before the others'.
        """
        values = np.roll(-self.gains[among], -first, axis=1)
        # Rounded: otherwise floating-point error would break ties by the order of the points.
        keys = [*(np.round(score, 9) for score in scores), *values.T]
        return int(among[np.lexsort(keys[::-1])[0]])

    def choice(self, index: int, reason: str) -> Choice:
        """Return the choice of the point at `index`."""
        return Choice(id=self.ids[index], reason=reason)

    def describe(self, index: int) -> str:
        """Return a point's name with its values, as `λ = 0.6 (acc 0.743, ece 0.051)`."""
        return f"{point_name(self.ids[index])} ({self.named_values(self.values[index])})"

    def named_values(self, values: Sequence[float] | FloatArray) -> str:
        """Return values of the objectives with their names, as `acc 0.743, ece 0.051`."""
        return ", ".join(f"{name} {value:.4g}" for name, value in zip(self.objectives, values, strict=True))


@dataclass(frozen=True)
class Choice:
    """The point that a rule chose, and the reason.

    Attributes:
        id: the point's id.
        reason: one sentence with the numbers that decided, without a full stop.
    """

    id: str
    reason: str
