"""The scores of every item along one axis, predicted from a few scored points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mergekit_calib.items.store import Tables
from mergekit_calib.search.surrogate.item_arrays import ItemArrays
from mergekit_calib.search.surrogate.item_process import ItemProcess

_DEGREE_OF_VALUES = 2  # of the polynomial that is fitted to numbers of sampled texts, which scatter


@dataclass(frozen=True, eq=False)
class ItemCurves:
    """A curve over one axis for each number of each item.

    Log-likelihoods are smooth in λ and hardly scatter: of them it is the mean of a Gaussian process with one kernel for
    all items. It goes through the scored points, and swings less between them than a polynomial does, so fewer points
    are enough. The tasks' own numbers, as of texts that a model draws, scatter: of them, it is the parabola of least
    squares, kept within the range of the points.

    Attributes:
        places: (n_points,) the values of the axis, each once.
        items: the item scores there.
    """

    places: NDArray[np.float64]
    items: ItemArrays

    @classmethod
    def through(cls, places: Sequence[float], tables: Sequence[Tables]) -> ItemCurves:
        """Return the curves through scored points.

        Args:
            places: (n_points,) values of the axis, each once, at least two.
            tables: (n_points,) the item scores there.

        Raises:
            CalibError: the points were scored on different documents.
        """
        return cls(np.array(places, dtype=np.float64), ItemArrays.of(tables))

    def at(self, value: float) -> Tables:
        """Return the predicted item scores at a value of the axis, which should lie between the outermost points."""
        nearest = int(np.argmin(np.abs(self.places - value)))
        log_likelihoods = self._process.predict(self._scaled(value))[0]
        scores = self.items.values
        values = np.clip(self._fitting(value) @ scores, scores.min(axis=0), scores.max(axis=0))
        return self.items.predicted(log_likelihoods, values, nearest)

    @cached_property
    def _process(self) -> ItemProcess:
        return ItemProcess.fit(self._scaled(self.places), self.items.log_likelihoods)

    def _scaled(self, value: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values of the axis as the process takes them, (n, 1), where the outermost points are 0 and 1."""
        scaled: NDArray[np.float64] = (np.atleast_1d(value)[:, None] - self.places.min()) / np.ptp(self.places)
        return scaled

    def _fitting(self, value: float) -> NDArray[np.float64]:
        """Return the weight of each point in the parabola's value there, (n_points,)."""
        degree = min(_DEGREE_OF_VALUES, len(self.places) - 1)
        middle, half = self.places.mean(), np.ptp(self.places) / 2
        fit = np.linalg.pinv(np.vander((self.places - middle) / half, degree + 1))
        weights: NDArray[np.float64] = np.vander([(value - middle) / half], degree + 1)[0] @ fit
        return weights
