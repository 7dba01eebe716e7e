"""The points that a selection rule chooses from, with their frontier and regrets, and the choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mergekit_calib.pareto.dominance import Direction, FloatArray, dominates, gains, non_dominated
from mergekit_calib.results.names import point_name


@dataclass(frozen=True, eq=False)
class PairedScore:
    """A metric of every candidate, with the standard errors of its paired differences.

    Attributes:
        direction: whether more or less of it is better.
        values: (n_points,).
        standard_errors: (n_points, n_points) of the difference of each two points over the items that both answered.
    """

    direction: Direction
    values: FloatArray
    standard_errors: FloatArray

    @property
    def losses(self) -> FloatArray:
        """The values with a sign such that less is better: (n_points,)."""
        return -self.values if self.direction == "maximize" else self.values

    def take(self, points: NDArray[np.intp]) -> PairedScore:
        """Return the metric of the points at these indices."""
        return PairedScore(self.direction, self.values[points], self.standard_errors[np.ix_(points, points)])


@dataclass(frozen=True, eq=False)
class Candidates:
    """The points that a rule chooses from.

    Attributes:
        ids: (n_points,) unique names.
        objectives: (n_objectives,) names.
        directions: (n_objectives,).
        values: (n_points, n_objectives).
        parents: the parents' ids, each among `ids` unless `parent_values` is given.
        standard_errors: (n_points, n_points, n_objectives) of the paired difference of each two points in each
            objective; None if they are not known, and then no point counts as dominated.
        scores: metric → what rules may look at beside the objectives: `brier`, `nll` and `ece`.
        proper: the proper scores among `scores` that measure what the objectives measure, which rules then look at by
            default; empty where they do not.
        parent_values: (n_parents, n_objectives) the parents' objectives; those of `values`, if None.

    Raises:
        ValueError: shapes do not fit together, ids repeat, or a parent is not among the points.
    """

    ids: tuple[str, ...]
    objectives: tuple[str, ...]
    directions: tuple[Direction, ...]
    values: FloatArray
    parents: tuple[str, ...] = ()
    standard_errors: FloatArray | None = None
    scores: Mapping[str, PairedScore] = field(default_factory=dict)
    proper: tuple[str, ...] = ()
    parent_values: FloatArray | None = None

    def __post_init__(self) -> None:
        n, k = expected = (len(self.ids), len(self.objectives))
        if np.shape(self.values) != expected or len(self.directions) != k:
            raise ValueError(
                f"values of shape {np.shape(self.values)} and {len(self.directions)} directions "
                f"for {n} points and {k} objectives"
            )
        if self.standard_errors is not None and np.shape(self.standard_errors) != (n, n, k):
            raise ValueError(
                f"standard errors of shape {np.shape(self.standard_errors)} for values of shape {expected}"
            )
        if len(set(self.ids)) != n:
            raise ValueError(f"ids repeat: {', '.join(self.ids)}")
        if self.parent_values is None and (strangers := set(self.parents) - set(self.ids)):
            raise ValueError(f"parents {', '.join(sorted(strangers))} are not among the points")

    def with_finite_values(self) -> Candidates:
        """Return the candidates without the points that have a value that is not finite."""
        finite = np.asarray(np.isfinite(self.values).all(axis=1))
        usable = tuple(parent for parent in self.parents if parent not in self.ids or finite[self.ids.index(parent)])
        return replace(self, parents=usable)._take(np.flatnonzero(finite))

    def without_dominated(self) -> Candidates:
        """Return the candidates without those that another dominates beyond chance; parents stay known by value."""
        return self._take(np.flatnonzero(~np.any(self.dominates, axis=0)))

    def _take(self, kept: NDArray[np.intp]) -> Candidates:
        errors = self.standard_errors
        return replace(
            self,
            ids=tuple(self.ids[i] for i in kept),
            values=self.values[kept],
            standard_errors=None if errors is None else errors[np.ix_(kept, kept)],
            scores={name: score.take(kept) for name, score in self.scores.items()},
            parent_values=self._values_of_parents,
        )

    @property
    def _values_of_parents(self) -> FloatArray:
        if self.parent_values is not None:
            return self.parent_values
        return self.values[[self.ids.index(parent) for parent in self.parents]]

    @cached_property
    def dominates(self) -> NDArray[np.bool_]:
        """Whether point i dominates point j beyond chance: (n_points, n_points)."""
        if self.standard_errors is None:
            return np.zeros((len(self.ids), len(self.ids)), dtype=bool)
        return dominates(self.values, self.standard_errors, self.directions)

    @cached_property
    def parent_gains(self) -> FloatArray:
        """The parents' values with a sign such that more is better: (n_parents, n_objectives)."""
        return gains(self._values_of_parents, self.directions)

    def score(self, name: str) -> PairedScore:
        """Return a metric by name: one of `scores`, or an objective.

        An objective whose standard errors are not known has errors of 0.

        Raises:
            ValueError: there is none of that name.
        """
        if name in self.scores:
            return self.scores[name]
        if name not in self.objectives:
            raise ValueError(
                f"no metric {name!r} to choose by; there are {', '.join([*self.scores, *self.objectives])}"
            )
        k, n = self.objectives.index(name), len(self.ids)
        errors = np.zeros((n, n)) if self.standard_errors is None else self.standard_errors[:, :, k]
        return PairedScore(self.directions[k], self.values[:, k], errors)

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
        gave_way: why the rule that was asked for chose none, so that the default rule chose; None if it did choose.
    """

    id: str
    reason: str
    gave_way: str | None = None


@dataclass(frozen=True)
class NoChoice:
    """What a rule returns that cannot choose any of the points; the default rule then chooses.

    Attributes:
        reason: one clause that says why, without a full stop.
    """

    reason: str
