"""How a quantity goes along an ordered setting: rank correlation, monotone fit, and where it is best."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import isotonic_regression

from mergekit_calib.metrics.statistic import FloatArray


def kendall_tau(settings: ArrayLike, values: ArrayLike) -> FloatArray:
    """Kendall's τ-b of each row of values with the settings, −1 (falls throughout) to 1 (rises throughout).

    As `scipy.stats.kendalltau`, for many rows at once. NaN where a row holds a NaN or one value throughout.

    Args:
        settings: (n,) at least 2, no two alike.
        values: (..., n).

    Returns:
        (...,).
    """
    x, y = np.asarray(settings, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) < 2 or len(np.unique(x)) < len(x) or y.shape[-1:] != x.shape:
        raise ValueError(f"settings {x} for values of shape {y.shape}; at least 2 are needed, no two alike")
    first, second = np.triu_indices(len(x), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        signs = np.sign(y[..., second] - y[..., first])
        agreement = (signs * np.sign(x[second] - x[first])).sum(axis=-1)
        tau: FloatArray = agreement / np.sqrt(len(first) * np.abs(signs).sum(axis=-1))
    return np.asarray(tau)


def monotone_fit(values: ArrayLike, increasing: bool = True) -> FloatArray:
    """(n,) the monotone sequence nearest to the values, in least squares (isotonic regression, by scipy).

    Args:
        values: (n,) in the order of the settings.
        increasing: whether the sequence never falls, or never rises.
    """
    fitted: FloatArray = isotonic_regression(np.asarray(values, dtype=np.float64), increasing=increasing).x
    return fitted


def monotone_p_value(values: ArrayLike, replicates: ArrayLike, increasing: bool = True) -> float:
    """p of the null that the quantity is monotone: small where the values depart from any monotone sequence.

    The departure is the root mean square of values − `monotone_fit`; its distribution under the null is that of the
    resamples' errors alone, as a constant is the monotone truth from which noise departs furthest (Robertson et
    al. 1988): the fit with errors added claims too often. p = (1 + #(departure ≥ observed)) / (1 + n_resamples).

    Args:
        values: (n,) in the order of the settings.
        replicates: (n, n_resamples) bootstrap replicates of the values, on the same resamples.
    """
    observed, drawn = np.asarray(values, dtype=np.float64), np.asarray(replicates, dtype=np.float64)
    departure = _root_mean_square(observed - monotone_fit(observed, increasing))
    null = (drawn - drawn.mean(axis=1, keepdims=True)).T
    as_far = sum(_root_mean_square(row - monotone_fit(row, increasing)) >= departure - 1e-12 for row in null)
    return float((1 + as_far) / (1 + len(null)))


def _root_mean_square(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))
