"""The smooth calibration error, which needs no bins."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from mergekit_calib.metrics.inputs import predictions
from mergekit_calib.metrics.statistic import FloatArray, WeightedStatistic

ComplexArray = NDArray[np.complex128]

_LEAST_BANDWIDTH = 0.001
_SEARCH_STEPS = 10
_LEAST_DENSITY = 1e-4


def smooth_ece(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return SmoothECE (Błasiok and Nakkiran 2023, arXiv 2309.12236), 0 to 1; less is better.

    Confidence − correctness is smoothed along confidence by a Gaussian kernel reflected at 0 and 1, and its absolute
    value averaged. The bandwidth is the one that equals the error with that bandwidth, so there is nothing to tune. The
    error is continuous in the confidences, which binned errors are not. The grids and the search are those of the
    authors' `relplot.smECE`; bandwidths are multiples of 1/1024.

    Args:
        probabilities: (n_items, n_choices), NaN-padded; or (n_items,) confidences.
        labels: (n_items,) int, or (n_items, n_choices) bool; with confidences, (n_items,) bool.
    """
    return smooth_ece_statistic(probabilities, labels).value()


def smooth_ece_statistic(probabilities: ArrayLike, labels: ArrayLike) -> WeightedStatistic:
    """Return `smooth_ece` as a statistic; each resample has its own bandwidth."""
    given = predictions(probabilities, labels)
    confidence, residual = given.confidence, given.confidence - given.correct
    n_items = len(given)

    @cache
    def grid(n_points: int) -> csr_array:
        """Return how each item is shared between the two points of the grid around it, (n_items, n_points)."""
        position = confidence * (n_points - 1)
        left = np.clip(position.astype(np.int64), 0, n_points - 2)
        fraction = position - left
        columns = np.stack([left, left + 1], axis=1).ravel()
        shares = np.stack([1.0 - fraction, fraction], axis=1).ravel()
        return csr_array((shares, columns, 2 * np.arange(n_items + 1)), (n_items, n_points))

    def search(weights: FloatArray) -> FloatArray:
        @cache
        def spectra(n_points: int) -> tuple[ComplexArray, ComplexArray]:
            """Return the spectra of the summed residuals and of the summed weights on the grid, one for each row."""
            return _spectrum((weights * residual) @ grid(n_points)), _spectrum(weights @ grid(n_points))

        def error(bandwidth: FloatArray) -> FloatArray:
            """Return the smoothed error of each row at its own bandwidth, (r,)."""
            errors = np.empty(len(weights))
            for width in np.unique(bandwidth):
                rows = np.flatnonzero(bandwidth == width)
                n_points = max(2000, round(20 / width)) // 2 + 1
                mesh = np.linspace(0.0, 1.0, max(round(10 / width), 200))
                gap, density = (
                    _interpolate(mesh, _smooth(spectrum[rows], n_points, float(width)))
                    for spectrum in spectra(n_points)
                )
                errors[rows] = np.abs(gap).sum(axis=1) / (density + _LEAST_DENSITY).sum(axis=1)
            return errors

        low, high = np.zeros(len(weights)), np.ones(len(weights))
        for _ in range(_SEARCH_STEPS):
            middle = (low + high) / 2.0
            below = middle < np.maximum(error(np.maximum(middle, _LEAST_BANDWIDTH)), _LEAST_BANDWIDTH)
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return error(high)

    return WeightedStatistic(n_items, search)


def _spectrum(values: FloatArray) -> ComplexArray:
    """Return the spectrum of values on a grid from 0 to 1, made periodic by their mirror image."""
    spectrum: ComplexArray = np.fft.rfft(np.concatenate([values, values[:, -2:0:-1]], axis=1))
    return spectrum


def _smooth(spectrum: ComplexArray, n_points: int, bandwidth: float) -> FloatArray:
    """Return the values of a spectrum smoothed by a Gaussian that is cut off at half a unit, (r, n_points)."""
    offset = np.linspace(0.0, 1.0, n_points) - 0.5
    kernel = np.zeros(2 * (n_points - 1))
    kernel[:n_points] = np.exp(-(offset**2) / (2.0 * bandwidth**2)) / (np.sqrt(2.0 * np.pi) * bandwidth)
    kernel = np.roll(kernel, -(n_points // 2))
    smoothed: FloatArray = np.fft.irfft(spectrum * np.fft.rfft(kernel), n=len(kernel))
    return smoothed[:, :n_points]


def _interpolate(mesh: FloatArray, values: FloatArray) -> FloatArray:
    """Return each row of values, given on an even grid from 0 to 1, at the points of the mesh, (r, n_mesh)."""
    last = values.shape[1] - 1
    left = np.clip((mesh * last).astype(np.int64), 0, last - 1)
    fraction = mesh * last - left
    between: FloatArray = values[:, left] * (1.0 - fraction) + values[:, left + 1] * fraction
    return between
