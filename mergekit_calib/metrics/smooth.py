"""The smooth calibration error, which needs no bins."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from mergekit_calib.metrics.inputs import predictions
from mergekit_calib.metrics.statistic import FloatArray, WeightedStatistic

ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

_STEPS = 1024  # bandwidths are multiples of 1 / _STEPS
_REACHES = (8, 24, 64)  # steps from the bandwidth of the items themselves in which those of resamples are looked for
_KERNELS_KEPT = 256
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

    def search(weights: FloatArray, start: int | None) -> tuple[IntArray, FloatArray]:
        """Return each row's bandwidth, in steps, and its error; `start` is a guess of the bandwidths."""
        on_grid = _on_grid(weights, residual, grid)
        known: dict[int, FloatArray] = {}

        def error(steps: IntArray) -> FloatArray:
            """Return the smoothed error of each row at its own bandwidth, (r,)."""
            errors = np.empty(len(weights))
            for step in np.unique(steps):
                rows = np.flatnonzero(steps == step)
                of_step = known.setdefault(int(step), np.full(len(weights), np.nan))
                new = rows[np.isnan(of_step[rows])]
                if len(new):
                    width = float(step) / _STEPS
                    n_points, n_mesh = max(2000, round(20 / width)) // 2 + 1, max(round(10 / width), 200)
                    spectrum, density = on_grid(n_points)
                    gap = _interpolate(np.linspace(0.0, 1.0, n_mesh), _smooth(spectrum[new], n_points, width))
                    mass = density[new] @ _smoothed_sum(n_points, n_mesh, width) + n_mesh * _LEAST_DENSITY
                    of_step[new] = np.abs(gap).sum(axis=1) / mass
                errors[rows] = of_step[rows]
            return errors

        # `low` is below the error at that bandwidth, and `high` is not. No error is taken to be below 1 / 1024.
        low, high = np.ones(len(weights), dtype=np.int64), np.full(len(weights), _STEPS)
        probes = [np.full(len(weights), start)] if start is not None else []
        reaches = list(_REACHES) if start is not None else []
        while (high - low > 1).any():
            middle = probes.pop() if probes else (low + high) // 2
            middle = np.clip(middle, np.minimum(low + 1, high), np.maximum(high - 1, low + 1))
            below = middle / _STEPS < error(middle)
            low, high = np.where(below, np.maximum(low, middle), low), np.where(below, high, np.minimum(high, middle))
            if start is not None and reaches:
                reach = reaches.pop(0)
                outward = np.where(low >= start, start + reach, start - reach)
                is_open = (low <= 1) | (high >= _STEPS)
                probes.append(np.where(is_open, outward, (low + high) // 2))
        return high, error(high)

    @cache
    def own() -> tuple[int, float]:
        """Return the bandwidth of the items themselves, in steps, and their error."""
        steps, errors = search(np.ones((1, n_items)), None)
        return int(steps[0]), float(errors[0])

    return WeightedStatistic(n_items, lambda weights: search(weights, own()[0])[1])


def _on_grid(
    weights: FloatArray, residual: FloatArray, grid: Callable[[int], csr_array]
) -> Callable[[int], tuple[ComplexArray, FloatArray]]:
    """Return a function of the grid's size: the spectra of the rows' summed residuals, and their summed weights."""

    @cache
    def of_size(n_points: int) -> tuple[ComplexArray, FloatArray]:
        return _spectrum((weights * residual) @ grid(n_points)), weights @ grid(n_points)

    return of_size


def _spectrum(values: FloatArray) -> ComplexArray:
    """Return the spectrum of values on a grid from 0 to 1, made periodic by their mirror image."""
    spectrum: ComplexArray = np.fft.rfft(np.concatenate([values, values[:, -2:0:-1]], axis=1))
    return spectrum


def _smooth(spectrum: ComplexArray, n_points: int, bandwidth: float) -> FloatArray:
    """Return the values of a spectrum smoothed by a Gaussian that is cut off at half a unit, (r, n_points)."""
    smoothed: FloatArray = np.fft.irfft(spectrum * _kernel_spectrum(n_points, bandwidth), n=2 * (n_points - 1))
    return smoothed[:, :n_points]


@lru_cache(_KERNELS_KEPT)  # all points and splits of a sweep use nearly the same bandwidths
def _kernel_spectrum(n_points: int, bandwidth: float) -> ComplexArray:
    """Return the spectrum of the Gaussian on the mirrored grid."""
    offset = np.linspace(0.0, 1.0, n_points) - 0.5
    kernel = np.zeros(2 * (n_points - 1))
    kernel[:n_points] = np.exp(-(offset**2) / (2.0 * bandwidth**2)) / (np.sqrt(2.0 * np.pi) * bandwidth)
    spectrum: ComplexArray = np.fft.rfft(np.roll(kernel, -(n_points // 2)))
    return spectrum


@lru_cache(_KERNELS_KEPT)
def _smoothed_sum(n_points: int, n_mesh: int, bandwidth: float) -> FloatArray:
    """Return what 1 at each point of the grid adds to the sum of the smoothed values on the mesh, (n_points,).

    Only the sum of the densities is needed, and it is linear in them, so no density has to be smoothed by itself.
    """
    position = np.linspace(0.0, 1.0, n_mesh) * (n_points - 1)
    left = np.clip(position.astype(np.int64), 0, n_points - 2)
    padded = np.zeros(2 * (n_points - 1))
    np.add.at(padded, left, 1.0 - (position - left))
    np.add.at(padded, left + 1, position - left)
    # The transpose of mirroring, smoothing and interpolating. The spectrum's conjugate turns the kernel round.
    spread = np.fft.irfft(np.fft.rfft(padded) * np.conj(_kernel_spectrum(n_points, bandwidth)), n=len(padded))
    summed: FloatArray = spread[:n_points].copy()
    summed[1:-1] += spread[: n_points - 1 : -1]
    return summed


def _interpolate(mesh: FloatArray, values: FloatArray) -> FloatArray:
    """Return each row of values, given on an even grid from 0 to 1, at the points of the mesh, (r, n_mesh)."""
    last = values.shape[1] - 1
    left = np.clip((mesh * last).astype(np.int64), 0, last - 1)
    fraction = mesh * last - left
    between: FloatArray = values[:, left] * (1.0 - fraction) + values[:, left + 1] * fraction
    return between
