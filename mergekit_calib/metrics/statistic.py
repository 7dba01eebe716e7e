"""Statistics that can be resampled: a metric in a form whose bootstrap is one matrix product.

Most metrics are functions of means over items (`FunctionOfMeans`); those that rank the items are other functions of the
items' weights (`WeightedStatistic`). Both have a value, and replicates under resampled weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

BLOCK_ELEMENTS = 1 << 20
"""The largest number of elements of a block of resamples (8 MB of float64)."""


class Statistic(Protocol):
    """A number computed from items that can be computed again with other weights of the same items."""

    @property
    def n_items(self) -> int:
        """The number of items."""
        ...

    def value(self) -> float:
        """Return the number with every item counted once."""
        ...

    def replicates(self, weights: ArrayLike) -> FloatArray:
        """Return the number under each row of `weights` (n_resamples, n_items), as an array (n_resamples,)."""
        ...


@dataclass(frozen=True)
class FunctionOfMeans:
    """A number that is a function of means over items: value = reduce(mean of contributions over items).

    Attributes:
        contributions: (n_items, k) finite, or +inf (a wrong answer given with certainty, under a log score).
        reduce: (..., k) weighted means of the columns → (...) the statistic.
    """

    contributions: FloatArray
    reduce: Callable[[FloatArray], FloatArray]

    def __post_init__(self) -> None:
        if self.contributions.ndim != 2 or self.contributions.shape[0] == 0:
            raise ValueError(f"contributions have shape {self.contributions.shape}; (n_items >= 1, k) is needed")
        if np.isnan(self.contributions).any() or np.isneginf(self.contributions).any():
            raise ValueError("contributions hold NaN or -inf")

    @property
    def n_items(self) -> int:
        """The number of items."""
        return len(self.contributions)

    def value(self) -> float:
        """Return the statistic with every item counted once."""
        return float(self.reduce(self.contributions.mean(axis=0)))

    def replicates(self, weights: ArrayLike) -> FloatArray:
        """Return the statistic under each row of `weights`.

        Args:
            weights: (n_resamples, n_items) how often each item was drawn, as from `resample_weights`. Statistics
                given the same weights are paired: their replicates can be subtracted.

        Returns:
            (n_resamples,) the replicates.
        """
        counts = _checked_weights(weights, self.n_items)
        totals = counts.sum(axis=1, keepdims=True)
        infinite = np.isinf(self.contributions)
        if not infinite.any():
            return self.reduce(counts @ self.contributions / totals)
        # 0 · inf is NaN: an item that was not drawn must not count, so infinities are added separately.
        means = counts @ np.where(infinite, 0.0, self.contributions) / totals
        drawn = counts @ infinite.astype(np.float64) > 0
        return self.reduce(np.where(drawn, np.inf, means))


@dataclass(frozen=True)
class MeanOfSome:
    """The mean of a number that only some items have; the replicate of a resample without any of these is the mean.

    Attributes:
        numbers: (n_items,) finite, or +inf, where `given`; 0 elsewhere.
        given: (n_items,) bool, at least one true.
    """

    numbers: FloatArray
    given: NDArray[np.bool_]

    @property
    def n_items(self) -> int:
        """The number of items, with those that have no number."""
        return len(self.numbers)

    def value(self) -> float:
        """Return the mean over the items that have a number."""
        return float(self.numbers[self.given].mean())

    def replicates(self, weights: ArrayLike) -> FloatArray:
        """Return the mean under each row of `weights`; see `FunctionOfMeans.replicates`."""
        mean = self.value()

        def ratio(means: FloatArray) -> FloatArray:
            total, share = means[..., 0], means[..., 1]
            return np.divide(total, share, out=np.full_like(total, mean), where=share > 0)

        return FunctionOfMeans(np.column_stack([self.numbers, self.given]), ratio).replicates(weights)


@dataclass(frozen=True)
class WeightedStatistic:
    """A number that is not a function of means over items, such as one that depends on the items' ranks.

    Attributes:
        n_items: the number of items.
        of_weights: (r, n_items) weights → (r,) the statistic under each row.
    """

    n_items: int
    of_weights: Callable[[FloatArray], FloatArray]

    def value(self) -> float:
        """Return the statistic with every item counted once."""
        return float(self.of_weights(np.ones((1, self.n_items)))[0])

    def replicates(self, weights: ArrayLike) -> FloatArray:
        """Return the statistic under each row of `weights`; see `FunctionOfMeans.replicates`."""
        counts = _checked_weights(weights, self.n_items)
        values = np.empty(counts.shape[0])
        for rows in blocks(counts.shape[0], self.n_items):
            values[rows] = self.of_weights(counts[rows])
        return values


@dataclass(frozen=True)
class WeightedAverage:
    """The weighted average of statistics of different items; its items are those of all parts, in the parts' order.

    Attributes:
        parts: at least one statistic.
        weights: (n_parts,) none below 0, not all 0; they need not sum to 1.
    """

    parts: Sequence[Statistic]
    weights: Sequence[float]

    def __post_init__(self) -> None:
        if not self.parts or len(self.parts) != len(self.weights) or min(self.weights) < 0 or not sum(self.weights):
            raise ValueError(f"weights {list(self.weights)} for {len(self.parts)} statistics; one above 0 is needed")

    @property
    def n_items(self) -> int:
        """The number of items of all parts together."""
        return sum(part.n_items for part in self.parts)

    def value(self) -> float:
        """Return the average of the parts' values; a part with weight 0 is not computed."""
        total = sum(self.weights)
        return float(
            sum(weight / total * part.value() for weight, part in zip(self.weights, self.parts, strict=True) if weight)
        )

    def replicates(self, weights: ArrayLike) -> FloatArray:
        """Return the average under each row of `weights`; see `FunctionOfMeans.replicates`."""
        counts = _checked_weights(weights, self.n_items)
        ends = np.cumsum([part.n_items for part in self.parts])
        columns = [counts[:, end - part.n_items : end] for end, part in zip(ends, self.parts, strict=True)]
        average = np.zeros(len(counts))
        for weight, part, own in zip(self.weights, self.parts, columns, strict=True):
            if weight:
                average += weight / sum(self.weights) * part.replicates(own)
        return average


@dataclass(frozen=True)
class WorstOf:
    """The largest (or smallest) of statistics of different items; its items are those of all parts, in their order.

    It is taken anew on every resample. The largest of several noisy numbers is biased upwards: it is above the largest
    true value on average, and more so the more parts there are and the smaller they are.

    Attributes:
        parts: at least one statistic.
        largest: whether the largest is the worst; if not, the smallest is.
    """

    parts: Sequence[Statistic]
    largest: bool

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("no statistics; at least 1 is needed")

    @property
    def n_items(self) -> int:
        """The number of items of all parts together."""
        return sum(part.n_items for part in self.parts)

    def value(self) -> float:
        """Return the worst of the parts' values."""
        return float(self._worst(np.array([part.value() for part in self.parts])))

    def replicates(self, weights: ArrayLike) -> FloatArray:
        """Return the worst under each row of `weights`; see `FunctionOfMeans.replicates`."""
        counts = _checked_weights(weights, self.n_items)
        ends = np.cumsum([part.n_items for part in self.parts])
        drawn = [
            part.replicates(counts[:, end - part.n_items : end]) for end, part in zip(ends, self.parts, strict=True)
        ]
        return self._worst(np.array(drawn))

    def _worst(self, values: FloatArray) -> FloatArray:
        worst: FloatArray = values.max(axis=0) if self.largest else values.min(axis=0)
        return worst


def mean_statistic(values: ArrayLike) -> FunctionOfMeans:
    """Return the mean of one number for each item, as a statistic.

    Args:
        values: (n_items,) finite, or +inf.

    Raises:
        ValueError: there is no item, or a value is NaN or −inf.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"values have shape {array.shape}; one number for each of at least 1 item is needed")
    if np.isnan(array).any() or np.isneginf(array).any():
        raise ValueError(f"value {int(np.flatnonzero(np.isnan(array) | np.isneginf(array))[0])} is NaN or -inf")
    return FunctionOfMeans(array[:, None], first_mean)


def mean_of_some_statistic(values: ArrayLike, given: ArrayLike) -> FunctionOfMeans | MeanOfSome:
    """Return the mean of a number that only some items have, as a statistic of all items.

    The replicate of a resample without any of those items is the mean itself.

    Args:
        values: (n_items,) finite, or +inf, where `given`.
        given: (n_items,) bool, at least one true.

    Raises:
        ValueError: no item has a number, or one has NaN or −inf.
    """
    has = np.asarray(given, dtype=bool)
    some = mean_statistic(np.asarray(values, dtype=np.float64)[has])
    if has.all():
        return some
    numbers = np.zeros(len(has))
    numbers[has] = some.contributions[:, 0]
    return MeanOfSome(numbers, has)


@dataclass(frozen=True)
class ItemContributions:
    """What each item adds to a statistic that is a mean.

    Attributes:
        values: (n_items,) numbers whose plain mean is the statistic; may hold +inf.
        counted: (n_items,) bool, the items that have a number; `values` are 0 elsewhere.
    """

    values: FloatArray
    counted: NDArray[np.bool_]


def item_contributions(statistic: Statistic) -> ItemContributions | None:
    """Return what each item adds to a statistic that is a mean over items; None if it is not a mean.

    A weighted average of means over n_k of n items is one: an item of part k counts with
    `weight_k / sum(weights) · n / n_k`. A mean over some of the items is one, whose other items count 0.
    """
    if isinstance(statistic, FunctionOfMeans) and statistic.reduce is first_mean:
        return ItemContributions(statistic.contributions[:, 0], np.ones(statistic.n_items, dtype=bool))
    if isinstance(statistic, MeanOfSome):
        scale = statistic.n_items / np.count_nonzero(statistic.given)
        return ItemContributions(statistic.numbers * scale, statistic.given)
    if isinstance(statistic, WeightedAverage):
        values, counted = [], []
        for weight, part in zip(statistic.weights, statistic.parts, strict=True):
            if not weight:
                # A part without weight may be infinite, or no mean.
                values.append(np.zeros(part.n_items))
                counted.append(np.zeros(part.n_items, dtype=bool))
                continue
            own = item_contributions(part)
            if own is None:
                return None
            values.append(own.values * (weight / sum(statistic.weights) * statistic.n_items / part.n_items))
            counted.append(own.counted)
        return ItemContributions(np.concatenate(values), np.concatenate(counted))
    return None


def first_mean(means: FloatArray) -> FloatArray:
    """Return the only column of (..., 1) means: the `reduce` of a plain mean."""
    return means[..., 0]


def blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Yield slices of rows, each with a bounded number of elements."""
    step = max(1, BLOCK_ELEMENTS // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, min(n_rows, start + step))


def _checked_weights(weights: ArrayLike, n_items: int) -> FloatArray:
    counts = np.asarray(weights, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[1] != n_items:
        raise ValueError(f"weights have shape {counts.shape}; (n_resamples, {n_items}) is needed")
    return counts
