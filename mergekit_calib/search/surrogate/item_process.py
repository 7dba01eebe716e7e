"""A Gaussian process on every item's log-likelihoods, with one kernel for all of them.

A metric of a merge is a mean, or worse, over items, and its noise hides how it changes along the axes. Each item's
log-likelihoods change smoothly and without noise, and all of them through the same weights. So they share a kernel, and
thousands of columns decide its length scales after a handful of points. One factorisation serves them all.

The process has an unknown constant mean for each column (universal kriging), which restricted maximum likelihood
(Patterson and Thompson 1971) integrates out. The kernel is Matérn's with ν = 5/2 and a length scale for each axis
(Rasmussen and Williams 2006, chapters 4 and 5); the scale of the process is that of maximum likelihood. Summed over the
columns Y, the likelihood depends on them through the Gram matrix Y Yᵀ alone. Leaving a point out has a closed form
(Dubrule 1983).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

FloatArray = NDArray[np.float64]

_LEAST_NUGGET, _LARGEST_NUGGET = 1e-6, 0.3
_LENGTHS = (0.05, 50.0)  # an axis is 1 long


@dataclass(frozen=True, eq=False)
class ItemProcess:
    """A Gaussian process on many columns that share a kernel, conditioned on their values at some points.

    Variances and covariances are relative: those of a column are these times its own scale.

    Attributes:
        at: (n_points, n_axes) the points, each axis scaled to 0 to 1.
        columns: (n_points, n_columns) the values there.
        lengths: (n_axes,) the kernel's length scales.
        nugget: the variance of what does not vary smoothly, relative to the kernel's.
    """

    at: FloatArray
    columns: FloatArray
    lengths: FloatArray
    nugget: float

    @classmethod
    def fit(cls, at: FloatArray, columns: FloatArray) -> ItemProcess:
        """Return the process whose length scales and nugget have the largest likelihood, summed over the columns.

        A log-normal prior that widens with the number of axes (Hvarfner, Hellsten, Nardi 2024) counts as much as one
        column. It only matters for axes that the points say nothing about.

        Args:
            at: (n_points, n_axes) at least two different points, each axis scaled to 0 to 1.
            columns: (n_points, n_columns) the values there, finite.
        """
        n_columns, d = max(columns.shape[1], 1), at.shape[1]
        centred = columns - columns.mean(axis=0)
        gram = centred @ centred.T / n_columns
        gram /= max(np.trace(gram) / len(at), 1e-300)
        squares = (at[:, None, :] - at[None, :, :]) ** 2
        middle = np.sqrt(2.0) + np.log(d) / 2

        def loss(theta: FloatArray) -> tuple[float, FloatArray]:
            value, slope = _restricted_likelihood(theta, squares, gram)
            away = theta[:d] - middle
            slope[:d] += away / 3 / n_columns
            return value + float(away @ away) / 6 / n_columns, slope

        bounds = [tuple(np.log(_LENGTHS))] * d + [(np.log(_LEAST_NUGGET), np.log(_LARGEST_NUGGET))]
        starts = [np.append(np.full(d, np.log(length)), np.log(1e-3)) for length in (0.5, 2.0)]
        found = [minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds) for start in starts]
        best = min(found, key=lambda result: float(result.fun)).x
        return cls(at, columns, np.exp(best[:d]), float(np.exp(best[d])))

    @cached_property
    def _inverse(self) -> FloatArray:
        """(n_points, n_points) the inverse of the points' covariance, nugget included."""
        n = len(self.at)
        factor = cho_factor(self.kernel(self.at, self.at) + self.nugget * np.eye(n), lower=True)
        inverse: FloatArray = cho_solve(factor, np.eye(n))
        return inverse

    @cached_property
    def _of_mean(self) -> FloatArray:
        """(n_points,) the weights of the points in the estimated mean."""
        sums = self._inverse.sum(axis=1)
        weights: FloatArray = sums / sums.sum()
        return weights

    @cached_property
    def _projected(self) -> FloatArray:
        """(n_points, n_points) the inverse with the mean projected out."""
        return self._inverse - np.outer(self._of_mean, self._inverse.sum(axis=1))

    def kernel(self, a: FloatArray, b: FloatArray) -> FloatArray:
        """Return Matérn's kernel between points, without the nugget.

        Args:
            a: (n_a, n_axes).
            b: (n_b, n_axes).

        Returns:
            (n_a, n_b) from 0 to 1.
        """
        distance = np.sqrt(5.0 * ((a[:, None, :] - b[None, :, :]) ** 2 / self.lengths**2).sum(axis=-1))
        matern: FloatArray = (1.0 + distance + distance**2 / 3.0) * np.exp(-distance)
        return matern

    def weights(self, where: FloatArray) -> FloatArray:
        """Return the weight of each point in a prediction; every row sums to 1.

        Args:
            where: (n, n_axes).

        Returns:
            (n, n_points).
        """
        return self.kernel(where, self.at) @ self._projected + self._of_mean

    def predict(self, where: FloatArray) -> FloatArray:
        """Return the predicted values of all columns.

        Args:
            where: (n, n_axes).

        Returns:
            (n, n_columns).
        """
        return self.weights(where) @ self.columns

    def covariance(self, a: FloatArray, b: FloatArray) -> FloatArray:
        """Return the relative covariance of the errors of predictions, that of the unknown mean included.

        Args:
            a: (n_a, n_axes).
            b: (n_b, n_axes).

        Returns:
            (n_a, n_b).
        """
        to_a, to_b = self.kernel(a, self.at), self.kernel(b, self.at)
        sums = self._inverse.sum(axis=1)
        of_mean = np.outer(1.0 - to_a @ sums, 1.0 - to_b @ sums) / sums.sum()
        covariance: FloatArray = self.kernel(a, b) - to_a @ self._inverse @ to_b.T + of_mean
        return covariance

    def leave_one_out(self) -> tuple[FloatArray, FloatArray]:
        """Return the prediction of each point from the others, with the same kernel.

        Returns:
            (n_points, n_columns) the predictions; (n_points,) the relative variances of their errors, nugget included.
        """
        precision = np.diag(self._projected)
        return self.columns - self._projected @ self.columns / precision[:, None], 1.0 / precision


def _restricted_likelihood(theta: FloatArray, squares: FloatArray, gram: FloatArray) -> tuple[float, FloatArray]:
    """Return minus the restricted log-likelihood of a column, on average, and its gradient.

    The scale is that of maximum likelihood, put in. With P the inverse covariance with the mean projected out, the
    log-determinants of both terms have the derivative tr(P dK), and P itself −P dK P.

    Args:
        theta: (n_axes + 1,) the logarithms of the length scales and of the nugget.
        squares: (n_points, n_points, n_axes) squared distances along each axis.
        gram: (n_points, n_points) the Gram matrix of the columns, divided by their number.
    """
    n, d = len(gram), squares.shape[-1]
    scaled = squares / np.exp(2 * theta[:d])
    distance = np.sqrt(5.0 * scaled.sum(axis=-1))
    decay, nugget = np.exp(-distance), np.exp(theta[d])
    factor = cho_factor((1.0 + distance + distance**2 / 3.0) * decay + nugget * np.eye(n), lower=True)
    inverse = cho_solve(factor, np.eye(n))
    sums = inverse.sum(axis=1)
    projected = inverse - np.outer(sums, sums) / sums.sum()
    explained = projected @ gram @ projected
    power = max(float((projected * gram).sum()), 1e-300)
    value = (n - 1) * np.log(power) / 2 + np.log(np.diag(factor[0])).sum() + np.log(sums.sum()) / 2
    outer = (projected - (n - 1) / power * explained) / 2
    # dk / d log length = 5/3 (1 + distance) exp(−distance) times the squared distance on that axis, over its length².
    along = outer * (5.0 / 3.0 * (1.0 + distance) * decay)
    slope = np.append(np.einsum("ij,ijk->k", along, scaled), nugget * np.trace(outer))
    return float(value), slope
