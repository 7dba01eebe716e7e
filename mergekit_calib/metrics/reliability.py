"""The reliability curve, and the parts of the Brier score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from mergekit_calib.metrics.calibration import Binning, bin_index, width_edges
from mergekit_calib.metrics.inputs import predictions
from mergekit_calib.metrics.statistic import FloatArray


@dataclass(frozen=True)
class ReliabilityCurve:
    """Accuracy at each level of confidence. Arrays have one entry for each bin that holds an item, in order.

    Attributes:
        bins: the bin's number, 0 to n_bins − 1.
        lower: the bin's lower edge; with bins of equal mass, its least confidence.
        upper: the bin's upper edge; with bins of equal mass, its greatest confidence.
        counts: the number of its items.
        confidence: their mean confidence.
        accuracy: the share of them that is correct.
        low: the lower end of the accuracy's interval.
        high: the upper end of the accuracy's interval.
    """

    bins: NDArray[np.intp]
    lower: FloatArray
    upper: FloatArray
    counts: NDArray[np.int64]
    confidence: FloatArray
    accuracy: FloatArray
    low: FloatArray
    high: FloatArray


def reliability_curve(
    probabilities: ArrayLike, labels: ArrayLike, n_bins: int = 15, binning: Binning = "width", level: float = 0.95
) -> ReliabilityCurve:
    """Return accuracy against confidence in bins, with Wilson's score interval of each bin's accuracy (Wilson 1927).

    Bins are as in `expected_calibration_error`, except that confidences of exactly 1 join the last bin. An interval has
    its level for each bin by itself, not for all bins together.

    Args:
        probabilities: (n_items, n_choices), NaN-padded; or (n_items,) confidences.
        labels: (n_items,) int, or (n_items, n_choices) bool; with confidences, (n_items,) bool.
        n_bins: the number of bins, at least 1.
        binning: `width` or `mass`.
        level: the confidence level of the intervals, 0 to 1.

    Raises:
        ValueError: n_bins is below 1, the binning is unknown, or the level is outside its range.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}; between 0 and 1 is needed")
    given = predictions(probabilities, labels)
    index = np.minimum(bin_index(given.confidence, n_bins, binning), n_bins - 1)
    bins, column, counts = np.unique(index, return_inverse=True, return_counts=True)
    accuracy = np.bincount(column, given.correct) / counts
    if binning == "width":
        lower, upper = width_edges(n_bins)[bins], width_edges(n_bins)[bins + 1]
    else:
        lower = np.array([given.confidence[column == b].min() for b in range(len(bins))])
        upper = np.array([given.confidence[column == b].max() for b in range(len(bins))])
    low, high = wilson_interval(accuracy, counts, level)
    confidence = np.bincount(column, given.confidence) / counts
    return ReliabilityCurve(bins, lower, upper, counts, confidence, accuracy, low, high)


def wilson_interval(share: ArrayLike, counts: ArrayLike, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Return Wilson's score interval of a binomial share, within 0 to 1.

    Args:
        share: (...) the observed shares, 0 to 1.
        counts: (...) the numbers of trials, at least 1.
        level: the confidence level, 0 to 1.

    Returns:
        (...) the lower ends, and (...) the upper ends.
    """
    p, n = np.asarray(share, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    z = ndtri((1.0 + level) / 2.0)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    margin = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.clip(centre - margin, 0.0, p), np.clip(centre + margin, p, 1.0)


@dataclass(frozen=True)
class BrierDecomposition:
    """The parts of a Brier score: score = reliability − resolution + uncertainty + the within-bin terms.

    Attributes:
        reliability: at least 0; how far forecasts are from the frequency with which they come true. Less is better.
        resolution: at least 0; how far the bins' outcomes are from the average outcome. More is better.
        uncertainty: 0 to 2; the score of forecasting the average outcome. It does not depend on the model: it is
            (m − 1)/m if every item has m choices.
        within_bin_variance: at least 0; the forecasts' spread inside the bins.
        within_bin_covariance: twice the covariance of forecast and outcome inside the bins.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within_bin_variance: float
    within_bin_covariance: float

    @property
    def score(self) -> float:
        """The sum of the parts: `brier_score` of the same items, up to rounding."""
        return (
            self.reliability
            - self.resolution
            + self.uncertainty
            + self.within_bin_variance
            - self.within_bin_covariance
        )


def brier_decomposition(
    probabilities: ArrayLike, labels: ArrayLike, n_bins: int = 15, binning: Binning = "width"
) -> BrierDecomposition:
    """Decompose the Brier score after Murphy (1973), with the within-bin terms of Stephenson et al. (2008).

    Every choice of every item is a forecast that comes true or not; all are pooled and put into bins of their
    probability, as `expected_calibration_error` does with confidences. Several correct choices are one forecast, as in
    `brier_score`. Without the within-bin terms the parts would not add up, since a bin holds unequal forecasts.

    Args:
        probabilities: (n_items, n_choices), NaN-padded.
        labels: (n_items,) int, or (n_items, n_choices) bool.
        n_bins: the number of bins, at least 1.
        binning: `width` or `mass`.
    """
    given = predictions(probabilities, labels)
    wrong = given.present & ~given.labels
    forecast = np.concatenate([given.label_mass, np.minimum(given.probabilities[wrong], 1.0)])
    outcome = np.concatenate([np.ones(len(given)), np.zeros(np.count_nonzero(wrong))])
    _, column, counts = np.unique(bin_index(forecast, n_bins, binning), return_inverse=True, return_counts=True)
    mean_forecast = np.bincount(column, forecast) / counts
    mean_outcome = np.bincount(column, outcome) / counts
    base_rate = outcome.mean()
    forecast_residual, outcome_residual = forecast - mean_forecast[column], outcome - mean_outcome[column]
    n_items = len(given)
    return BrierDecomposition(
        reliability=float(counts @ (mean_forecast - mean_outcome) ** 2) / n_items,
        resolution=float(counts @ (mean_outcome - base_rate) ** 2) / n_items,
        uncertainty=float(len(outcome) * base_rate * (1.0 - base_rate)) / n_items,
        within_bin_variance=float(forecast_residual @ forecast_residual) / n_items,
        within_bin_covariance=float(2.0 * (forecast_residual @ outcome_residual)) / n_items,
    )
