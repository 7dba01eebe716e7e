"""One set of resamples that everything compared shares: drawn once, and read by statistics of all items or of some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mergekit_calib.metrics.resampling import BootstrapResult, Key, interval, weights_of_rows
from mergekit_calib.metrics.statistic import FloatArray, Statistic, blocks


class Resamples:
    """How often each item is drawn in each resample; every stratum is resampled by itself.

    Statistics of overlapping items (a task's, and those of the whole suite) taken on the same resamples are paired.

    Args:
        strata: (n_strata,) how many items each has, in order; those without any are passed over.
        n_resamples: how many resamples.
        seed: the same strata and seed give the same resamples.
    """

    def __init__(self, strata: Sequence[int], n_resamples: int = 1000, seed: int = 0) -> None:
        self._strata = [size for size in strata if size]
        self.n_resamples, self.n_items = n_resamples, sum(self._strata)
        # An item is drawn once on average, so counts fit a byte: an eighth of the memory of the weights.
        self._counts = np.empty((n_resamples, self.n_items), dtype=np.uint8)
        for rows in blocks(n_resamples, self.n_items):
            self._counts[rows] = np.minimum(weights_of_rows(self._strata, rows, seed), 255)

    def bootstrap(
        self,
        statistics: Mapping[Key, Statistic],
        items: NDArray[np.intp] | None = None,
        level: float = 0.95,
    ) -> dict[Key, BootstrapResult]:
        """Every statistic with its centred interval, cut off at 0 where no replicate is below.

        Simulated (15 bins, 300 resamples, 150 sets of items each), 95 % intervals hold an ECE of .02 at n = 2,500
        in 71 % of sets, the percentile ones in 26 %; of .05 in 93 % (91 %), at n = 300 in 73 % (18 %); of .1 at n = 300
        in 93 % (79 %). What is missing is the value's own bias, which is not taken off: an ECE is what others print.

        Args:
            statistics: name → statistic, all of the same items in the same order.
            items: (n,) which of the strata's items those are, whole strata only; all if None.
        """
        items = np.arange(self.n_items) if items is None else items
        drawn = {name: np.empty(self.n_resamples) for name in statistics}
        for rows in blocks(self.n_resamples, len(items)):
            weights = self._counts[rows][:, items].astype(np.float64)
            for name, statistic in statistics.items():
                drawn[name][rows] = statistic.replicates(weights)
        results = {}
        for name, statistic in statistics.items():
            value, least = statistic.value(), drawn[name].min()
            low, high = centred_interval(drawn[name], value, level)
            results[name] = BootstrapResult(value, max(low, 0.0) if least >= 0.0 else low, high, drawn[name])
        return results


def centred(replicates: ArrayLike, value: ArrayLike) -> FloatArray:
    """Replicates moved so that their mean is the value on the items themselves.

    A resample repeats items, so its ECE is larger than its sample's, the more so the better calibrated the model:
    without this, comparing models of unlike calibration counts that shift as a difference.

    Args:
        replicates: (..., n_resamples).
        value: (...,).

    Returns:
        (..., n_resamples); NaN where a replicate is infinite.
    """
    drawn = np.asarray(replicates, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        moved: FloatArray = drawn - drawn.mean(axis=-1, keepdims=True) + np.asarray(value, dtype=np.float64)[..., None]
    return moved


def centred_interval(replicates: ArrayLike, value: float, level: float = 0.95) -> tuple[float, float]:
    """The interval of centred replicates; where one is infinite, that of the replicates as they are.

    Args:
        replicates: (n_resamples,).
    """
    moved = centred(replicates, value)
    return interval(moved if np.isfinite(moved).all() else replicates, level)
