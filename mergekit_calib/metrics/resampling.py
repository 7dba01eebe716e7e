"""The bootstrap over items: resampling weights, intervals and tests, for many statistics on the same resamples.

The item is what is drawn. For generations the item is the prompt with all its generations: a statistic over prompts
has one row a prompt, and nothing below it is resampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from mergekit_calib.metrics.statistic import FloatArray, Statistic, blocks

IntervalMethod = Literal["percentile", "bca"]
Key = TypeVar("Key")


@dataclass(frozen=True)
class BootstrapResult:
    """A statistic, its interval, and what the interval was read from.

    Attributes:
        value: the statistic of the items themselves.
        low, high: the ends of the interval.
        replicates: (n_resamples,) the statistic of each resample; subtract those of paired results.
    """

    value: float
    low: float
    high: float
    replicates: FloatArray

    @property
    def standard_error(self) -> float:
        """The standard deviation of the replicates; 0 of a single resample."""
        return float(self.replicates.std(ddof=1)) if len(self.replicates) > 1 else 0.0


def resample_weights(n_items: int | Sequence[int], n_resamples: int = 1000, seed: int = 0) -> FloatArray:
    """How often each item is drawn in each resample, drawing n_items with replacement.

    The same n_items and seed give the same weights, so statistics of the same items that were resampled apart are
    still paired. Row r does not depend on n_resamples.

    Args:
        n_items: how many items; or the sizes of several strata, in the order of their items, each of which is then
            resampled by itself (the columns are those of the strata side by side).
        n_resamples: how many rows.

    Returns:
        (n_resamples, n_items) whole numbers, each row summing to n_items.
    """
    sizes = _strata(n_items)
    return weights_of_rows(sizes, slice(0, _checked_resamples(n_resamples)), seed)


def bootstrap(
    statistics: Mapping[Key, Statistic],
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    method: IntervalMethod = "percentile",
    strata: Sequence[int] | None = None,
) -> dict[Key, BootstrapResult]:
    """Resample items, and take every statistic on the same resamples.

    All statistics must be of the same items in the same order: then results are paired, and the difference of two of
    them has the replicates `a.replicates - b.replicates`. Resamples are made a block at a time, so memory stays
    bounded however many items there are.

    Args:
        statistics: name → statistic.
        level: the share of the interval, 0 to 1.
        method: `percentile`, or `bca` (bias-corrected and accelerated, Efron 1987).
        strata: sizes of strata to resample each by itself, as in `resample_weights`.

    Raises:
        ValueError: no statistics; statistics of different numbers of items; a level or number that makes no sense.
    """
    sizes = {statistic.n_items for statistic in statistics.values()}
    if len(sizes) != 1:
        raise ValueError(f"statistics of {sorted(sizes)} items; at least 1, all of the same items, are needed")
    n_items = sizes.pop()
    if strata is not None and sum(strata) != n_items:
        raise ValueError(f"strata of {sum(strata)} items in all, but the statistics have {n_items}")
    _check_interval(level, method)
    drawn = {name: np.empty(_checked_resamples(n_resamples)) for name in statistics}
    for rows in blocks(n_resamples, n_items):
        weights = weights_of_rows(_strata(n_items if strata is None else strata), rows, seed)
        for name, statistic in statistics.items():
            drawn[name][rows] = statistic.replicates(weights)
    results = {}
    for name, statistic in statistics.items():
        low, high = interval(drawn[name], level, method, statistic)
        results[name] = BootstrapResult(statistic.value(), low, high, drawn[name])
    return results


def interval(
    replicates: ArrayLike,
    level: float = 0.95,
    method: IntervalMethod = "percentile",
    statistic: Statistic | None = None,
) -> tuple[float, float]:
    """The interval that holds the middle `level` of the replicates, or its BCa correction.

    Args:
        replicates: (n_resamples,) as from `Statistic.replicates`; may hold +inf.
        statistic: for `bca`, what was resampled; its value and jackknife set the correction.

    Returns:
        (low, high); both the value itself where there is a single item.
    """
    drawn = _checked_replicates(replicates)
    _check_interval(level, method)
    tails = np.array([(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    if method == "bca":
        if statistic is None:
            raise ValueError("a bca interval needs the statistic that was resampled")
        tails = _bca_tails(tails, drawn, statistic)
    # Interpolating between infinities gives NaN.
    low, high = np.quantile(drawn, tails, method="linear" if np.isfinite(drawn).all() else "inverted_cdf")
    return float(low), float(high)


def paired_p_value(differences: ArrayLike) -> float:
    """One-sided bootstrap p-value of "the difference is above 0": (1 + how many replicates are not) / (1 + n).

    Args:
        differences: (n_resamples,) replicates of a paired difference, positive where it is a gain. One that is
            not a number (inf − inf) counts against the gain.
    """
    drawn = np.asarray(differences, dtype=np.float64)
    if drawn.ndim != 1 or drawn.size == 0:
        raise ValueError(f"differences have shape {drawn.shape}; at least 1 replicate is needed")
    return float((1 + np.count_nonzero(~(drawn > 0))) / (1 + drawn.size))


def weights_of_rows(strata: Sequence[int], rows: slice, seed: int) -> FloatArray:
    """Those rows of `resample_weights`, without the others."""
    weights = np.empty((rows.stop - rows.start, sum(strata)))
    for row in range(rows.start, rows.stop):
        # A generator for each resample: any block of rows can be made without those before it.
        rng = np.random.default_rng([seed, row])
        start = 0
        for size in strata:
            drawn = rng.integers(0, size, size)
            weights[row - rows.start, start : start + size] = np.bincount(drawn, minlength=size)
            start += size
    return weights


def _bca_tails(tails: FloatArray, replicates: FloatArray, statistic: Statistic) -> FloatArray:
    if statistic.n_items < 2:
        return tails
    n, value = len(replicates), statistic.value()
    below = (np.count_nonzero(replicates < value) + np.count_nonzero(replicates == value) / 2) / n
    bias = ndtri(np.clip(below, 0.5 / n, 1.0 - 0.5 / n))
    left_out = statistic.jackknife()
    acceleration = 0.0
    if np.isfinite(left_out).all():
        influence = left_out.mean() - left_out
        spread = np.sum(influence**2)
        if spread > 0:
            acceleration = np.sum(influence**3) / (6.0 * spread**1.5)
    shifted = bias + ndtri(tails)
    corrected: FloatArray = ndtr(bias + shifted / np.maximum(1.0 - acceleration * shifted, 1e-12))
    return corrected


def _strata(n_items: int | Sequence[int]) -> list[int]:
    sizes = [int(n_items)] if isinstance(n_items, (int, np.integer)) else [int(size) for size in n_items]
    if not sizes or min(sizes) < 1:
        raise ValueError(f"n_items is {n_items}; at least 1 item (in each stratum) is needed")
    return sizes


def _checked_resamples(n_resamples: int) -> int:
    if n_resamples < 1:
        raise ValueError(f"n_resamples is {n_resamples}; at least 1 is needed")
    return n_resamples


def _check_interval(level: float, method: str) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}; between 0 and 1 is needed")
    if method not in get_args(IntervalMethod):
        raise ValueError(f"method is {method!r}; one of {', '.join(get_args(IntervalMethod))} is needed")


def _checked_replicates(replicates: ArrayLike) -> FloatArray:
    drawn = np.asarray(replicates, dtype=np.float64)
    if drawn.ndim != 1 or drawn.size == 0 or np.isnan(drawn).any():
        raise ValueError(f"replicates of shape {drawn.shape} must be at least 1, and none NaN")
    return drawn
