"""The trend of a quantity along an ordered setting: rank correlation, monotone fit, and a test of monotonicity."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import isotonic_regression

from mergekit_calib.metrics.statistic import FloatArray


def kendall_tau(settings: ArrayLike, values: ArrayLike) -> FloatArray:
    """Return Kendall's τ-b of each row of values with the settings, −1 (falls throughout) to 1 (rises throughout).

    As `scipy.stats.kendalltau`, for many rows at once. NaN for a row that holds a NaN, or one value throughout.

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
    """Return the monotone sequence nearest to the values, (n,), in least squares (isotonic regression, by scipy).

    Args:
        values: (n,) in the order of the settings.
        increasing: True for a sequence that never falls, False for one that never rises.
    """
    fitted: FloatArray = isotonic_regression(np.asarray(values, dtype=np.float64), increasing=increasing).x
    return fitted


def monotone_p_value(values: ArrayLike, replicates: ArrayLike, increasing: bool = True) -> float:
    """Return the p-value of the null hypothesis that the quantity is monotone along the settings.

    The departure is the root mean square of values − `monotone_fit`. Its null distribution is that of the resamples'
    errors alone, since noise departs furthest from a constant among all monotone truths (Robertson et al. 1988); errors
    added to the fit would reject too often. p = (1 + #(departure ≥ observed)) / (1 + n_resamples).

    Args:
        values: (n,) in the order of the settings.
        replicates: (n, n_resamples) bootstrap replicates of the values, on the same resamples.
        increasing: True for a quantity that never falls under the null, False for one that never rises.
    """
    observed, drawn = np.asarray(values, dtype=np.float64), np.asarray(replicates, dtype=np.float64)
    departure = _root_mean_square(observed - monotone_fit(observed, increasing))
    null = (drawn - drawn.mean(axis=1, keepdims=True)).T
    as_far = sum(_root_mean_square(row - monotone_fit(row, increasing)) >= departure - 1e-12 for row in null)
    return float((1 + as_far) / (1 + len(null)))


def _root_mean_square(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))
