"""The scores of every item along one axis, predicted from a few scored points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mergekit_calib.items.store import Tables
from mergekit_calib.search.surrogate.item_arrays import ItemArrays

_DEGREE_OF_VALUES = 2  # of the polynomial that is fitted to numbers of sampled texts, which scatter


@dataclass(frozen=True, eq=False)
class ItemCurves:
    """A curve over one axis for each number of each item.

    Log-likelihoods are smooth in λ and hardly scatter, so a polynomial goes through those of every node (Lagrange's
    form, which is stable for Leja points; Berrut and Trefethen 2004). The tasks' own numbers, as of texts that a model
    draws, scatter: of them, it is the parabola of least squares, kept within the range of the nodes.

    Attributes:
        nodes: (n_nodes,) the values of the axis, each once.
        items: the item scores there.
    """

    nodes: NDArray[np.float64]
    items: ItemArrays

    @classmethod
    def through(cls, nodes: Sequence[float], tables: Sequence[Tables]) -> ItemCurves:
        """Return the curves through scored points.

        Args:
            nodes: (n_nodes,) values of the axis, each once; they should lie as Leja points do.
            tables: (n_nodes,) the item scores there.

        Raises:
            CalibError: the points were scored on different documents.
        """
        return cls(np.array(nodes, dtype=np.float64), ItemArrays.of(tables))

    def at(self, value: float) -> Tables:
        """Return the predicted item scores at a value of the axis, which should lie between the outermost nodes."""
        nearest = int(np.argmin(np.abs(self.nodes - value)))
        log_likelihoods = self._interpolating(value) @ self.items.log_likelihoods
        scores = self.items.values
        values = np.clip(self._fitting(value) @ scores, scores.min(axis=0), scores.max(axis=0))
        return self.items.predicted(log_likelihoods, values, nearest)

    def _interpolating(self, value: float) -> NDArray[np.float64]:
        """Return the weight of each node in the polynomial's value there, (n_nodes,)."""
        others = ~np.eye(len(self.nodes), dtype=bool)
        spans = np.subtract.outer(self.nodes, self.nodes)
        ratios = np.divide(value - self.nodes, spans, out=np.ones_like(spans), where=others)
        weights: NDArray[np.float64] = ratios.prod(axis=1)
        return weights

    def _fitting(self, value: float) -> NDArray[np.float64]:
        """Return the weight of each node in the parabola's value there, (n_nodes,)."""
        degree = min(_DEGREE_OF_VALUES, len(self.nodes) - 1)
        middle, half = self.nodes.mean(), max(float(np.ptp(self.nodes)) / 2, 1e-12)
        fit = np.linalg.pinv(np.vander((self.nodes - middle) / half, degree + 1))
        weights: NDArray[np.float64] = np.vander([(value - middle) / half], degree + 1)[0] @ fit
        return weights
