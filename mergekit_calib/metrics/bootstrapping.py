"""The bootstrap over items: resampling weights, intervals, and many statistics on the same resamples.

Only items are resampled. With generated texts, an item is a prompt with all its texts: a statistic over prompts has one
row for each prompt, and the texts of a prompt are not resampled.

All statistics of the same items and seed are computed on the same resamples, so they are paired: the difference of two
of them has the replicates `a.replicates - b.replicates`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mergekit_calib.metrics.statistic import FloatArray, Statistic, blocks, item_contributions

Key = TypeVar("Key")


@dataclass(frozen=True)
class BootstrapResult:
    """A statistic, its interval, and the replicates that the interval was read from.

    Attributes:
        value: the statistic of the items themselves.
        low: the lower end of the interval.
        high: the upper end of the interval.
        replicates: (n_resamples,) the statistic of each resample; those of paired results can be subtracted.
        contributions: (n_items,) numbers whose plain mean is the value, if the statistic is a mean over items; None
            if it is not.
        counted: (n_items,) bool, the items that have a number; the contributions of the others are 0. None if and
            only if `contributions` is.
    """

    value: float
    low: float
    high: float
    replicates: FloatArray
    contributions: FloatArray | None = None
    counted: NDArray[np.bool_] | None = None

    @property
    def standard_error(self) -> float:
        """The standard deviation of the replicates; 0 if there is a single resample."""
        return float(self.replicates.std(ddof=1)) if len(self.replicates) > 1 else 0.0


class Resamples:
    """How often each item is drawn in each resample, kept for many calls; each stratum is resampled by itself.

    Statistics of overlapping items (of one task, and of the whole suite) on the same resamples are paired.

    Args:
        strata: (n_strata,) the number of items of each stratum, in order; strata without items are ignored.
        n_resamples: the number of resamples.
        seed: the same strata and seed give the same resamples.
    """

    def __init__(self, strata: Sequence[int], n_resamples: int = 1000, seed: int = 0) -> None:
        self._strata = [size for size in strata if size]
        self.n_resamples, self.n_items = n_resamples, sum(self._strata)
        # An item is drawn once on average, so counts fit a byte: an eighth of the memory of the weights.
        self._counts = np.empty((n_resamples, self.n_items), dtype=np.uint8)
        for rows in blocks(n_resamples, self.n_items):
            self._counts[rows] = np.minimum(_weights_of_rows(self._strata, rows, seed), 255)

    def bootstrap(
        self,
        statistics: Mapping[Key, Statistic],
        items: NDArray[np.intp] | None = None,
        level: float = 0.95,
    ) -> dict[Key, BootstrapResult]:
        """Return every statistic with its interval, cut off at 0 if no replicate is below 0.

        The interval of a mean is that of percentiles; that of another statistic is centred, as it may be biased on
        resamples. Simulations with 15 bins, 300 resamples and 150 sets of items each give this coverage of the true ECE
        by 95 % intervals, with that of percentile intervals in parentheses. At n = 2,500: ECE .02, 71 % (26 %); ECE
        .05, 93 % (91 %). At n = 300: ECE .05, 73 % (18 %); ECE .1, 93 % (79 %). What is missing to 95 % comes from the
        bias of the value itself. It is not removed, so that the value is the ECE that other tools print.

        Args:
            statistics: name → statistic, all of the same items in the same order.
            items: (n,) the numbers of those items among the items of all strata, whole strata only; None for all.
            level: the confidence level, 0 to 1.
        """
        drawn = self.replicates(statistics, items)
        results = {}
        for name, statistic in statistics.items():
            result = _result(statistic, interval(drawn[name], level), drawn[name])
            if result.contributions is None:
                low, high = centred_interval(drawn[name], result.value, level)
                result = replace(result, low=max(low, 0.0) if drawn[name].min() >= 0.0 else low, high=high)
            results[name] = result
        return results

    def replicates(
        self, statistics: Mapping[Key, Statistic], items: NDArray[np.intp] | None = None
    ) -> dict[Key, FloatArray]:
        """Return every statistic's numbers on the resamples, (n_resamples,), without an interval.

        Args:
            statistics: as in `bootstrap`.
            items: as in `bootstrap`.
        """
        drawn = {name: np.empty(self.n_resamples) for name in statistics}
        for rows in blocks(self.n_resamples, self.n_items if items is None else len(items)):
            counts = self._counts[rows] if items is None else self._counts[rows][:, items]
            weights = counts.astype(np.float64)
            for name, statistic in statistics.items():
                drawn[name][rows] = statistic.replicates(weights)
        return drawn


def bootstrap(
    statistics: Mapping[Key, Statistic],
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    strata: Sequence[int] | None = None,
) -> dict[Key, BootstrapResult]:
    """Resample items, and return every statistic with its percentile interval.

    Resamples are made a block at a time, so memory stays bounded for any number of items.

    Args:
        statistics: name → statistic, all of the same items in the same order.
        n_resamples: the number of resamples.
        level: the confidence level, 0 to 1.
        seed: the same items and seed give the same resamples.
        strata: the sizes of strata, each of which is resampled by itself, as in `resample_weights`.

    Raises:
        ValueError: there is no statistic; statistics have different numbers of items, or another number than the
            strata; `level` is not between 0 and 1; `n_resamples` is below 1.
    """
    sizes = {statistic.n_items for statistic in statistics.values()}
    if len(sizes) != 1:
        raise ValueError(f"statistics of {sorted(sizes)} items; at least 1, all of the same items, are needed")
    n_items = sizes.pop()
    if strata is not None and sum(strata) != n_items:
        raise ValueError(f"strata of {sum(strata)} items in all, but the statistics have {n_items}")
    _check_level(level)
    drawn = {name: np.empty(_checked_resamples(n_resamples)) for name in statistics}
    for rows in blocks(n_resamples, n_items):
        weights = _weights_of_rows(_checked_strata(n_items if strata is None else strata), rows, seed)
        for name, statistic in statistics.items():
            drawn[name][rows] = statistic.replicates(weights)
    results = {}
    for name, statistic in statistics.items():
        results[name] = _result(statistic, interval(drawn[name], level), drawn[name])
    return results


def resample_weights(n_items: int | Sequence[int], n_resamples: int = 1000, seed: int = 0) -> FloatArray:
    """Return how often each item is drawn in each resample, drawing n_items with replacement.

    The same n_items and seed give the same weights, so statistics of the same items that are resampled separately are
    still paired. Row r does not depend on n_resamples.

    Args:
        n_items: the number of items; or the sizes of several strata, in the order of their items, each of which is
            resampled by itself (the columns are those of the strata side by side).
        n_resamples: the number of rows.
        seed: the seed of the random numbers.

    Returns:
        (n_resamples, n_items) whole numbers; each row sums to n_items.

    Raises:
        ValueError: there is no item, or a stratum without items; `n_resamples` is below 1.
    """
    sizes = _checked_strata(n_items)
    return _weights_of_rows(sizes, slice(0, _checked_resamples(n_resamples)), seed)


def interval(replicates: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval: the ends of the middle `level` of the replicates.

    Args:
        replicates: (n_resamples,) as from `Statistic.replicates`; may hold +inf.
        level: the confidence level, 0 to 1.

    Raises:
        ValueError: there are no replicates, or one is NaN; `level` is not between 0 and 1.
    """
    drawn = np.asarray(replicates, dtype=np.float64)
    if drawn.ndim != 1 or drawn.size == 0 or np.isnan(drawn).any():
        raise ValueError(f"replicates of shape {drawn.shape} must be at least 1, and none NaN")
    _check_level(level)
    tails = np.array([(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    # Interpolating between infinities gives NaN.
    low, high = np.quantile(drawn, tails, method="linear" if np.isfinite(drawn).all() else "inverted_cdf")
    return float(low), float(high)


def centred(replicates: ArrayLike, value: ArrayLike) -> FloatArray:
    """Return replicates shifted so that their mean is the value on the items themselves.

    A resample repeats items, so its ECE is larger than that of the items themselves, and more so the better calibrated
    the model is. Without this shift, a comparison of two models with different calibration would count this bias as a
    difference.

    Args:
        replicates: (..., n_resamples).
        value: (...,).

    Returns:
        (..., n_resamples); NaN where a replicate is infinite.
    """
    drawn = np.asarray(replicates, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        shifted: FloatArray = (
            drawn - drawn.mean(axis=-1, keepdims=True) + np.asarray(value, dtype=np.float64)[..., None]
        )
    return shifted


def centred_interval(replicates: ArrayLike, value: float, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of centred replicates; if a replicate is infinite, of the replicates as they are.

    Args:
        replicates: (n_resamples,).
        value: the statistic of the items themselves.
        level: the confidence level, 0 to 1.
    """
    shifted = centred(replicates, value)
    return interval(shifted if np.isfinite(shifted).all() else replicates, level)


def _result(statistic: Statistic, ends: tuple[float, float], drawn: FloatArray) -> BootstrapResult:
    of_items = item_contributions(statistic)
    contributions, counted = (None, None) if of_items is None else (of_items.values, of_items.counted)
    return BootstrapResult(statistic.value(), *ends, drawn, contributions, counted)


def _weights_of_rows(strata: Sequence[int], rows: slice, seed: int) -> FloatArray:
    """Return these rows of `resample_weights`, without making the others."""
    weights = np.empty((rows.stop - rows.start, sum(strata)))
    for row in range(rows.start, rows.stop):
        # Each resample has a generator of its own, so any block of rows can be made without those before it.
        rng = np.random.default_rng([seed, row])
        start = 0
        for size in strata:
            drawn = rng.integers(0, size, size)
            weights[row - rows.start, start : start + size] = np.bincount(drawn, minlength=size)
            start += size
    return weights


def _checked_strata(n_items: int | Sequence[int]) -> list[int]:
    sizes = [int(n_items)] if isinstance(n_items, (int, np.integer)) else [int(size) for size in n_items]
    if not sizes or min(sizes) < 1:
        raise ValueError(f"n_items is {n_items}; at least 1 item (in each stratum) is needed")
    return sizes


def _checked_resamples(n_resamples: int) -> int:
    if n_resamples < 1:
        raise ValueError(f"n_resamples is {n_resamples}; at least 1 is needed")
    return n_resamples


def _check_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}; between 0 and 1 is needed")
