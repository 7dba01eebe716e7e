"""Calibration errors over bins of confidence, of answers and of each choice, and overconfidence.

The arguments of every function are checked by `inputs.predictions`, which also defines the answer to an item.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mergekit_calib.metrics.inputs import predictions
from mergekit_calib.metrics.statistic import FloatArray, FunctionOfMeans, mean_statistic

Binning = Literal["width", "mass"]
Norm = Literal["l1", "l2", "max"]


def expected_calibration_error(
    probabilities: ArrayLike,
    labels: ArrayLike,
    n_bins: int = 15,
    binning: Binning = "width",
    norm: Norm = "l1",
    debias: bool = False,
) -> float:
    """Return the calibration error of answers: |confidence − accuracy| in bins of confidence, averaged; 0 to 1.

    `binning="width"`: bins [0, 1/n), [1/n, 2/n) … [1 − 1/n, 1), and a confidence of exactly 1 in a bin of its own, as
    in torchmetrics: a confidence at an edge belongs to the bin above. The edges are k/n in float64.
    `binning="mass"`: the items in order of confidence, cut into n_bins parts whose sizes differ by at most 1 (the
    larger ones first); equal confidences stay together, in the first part that any of them falls in, as in Kumar et
    al.'s `get_equal_bins`.

    `norm="l1"` is Σ_b (n_b/n)|conf_b − acc_b| (Naeini et al. 2015; Guo et al. 2017), `"l2"` the root of the mean
    square, and `"max"` the largest gap of a bin. The binned estimate is biased upward, more so with few items in a bin.
    `debias` (for `"l2"`) removes the bias as in Kumar et al. (2019): acc_b(1 − acc_b)/(n_b − 1) is subtracted from the
    square in each bin; a bin of a single item then counts as 0, and so does a negative sum.

    Args:
        probabilities: (n_items, n_choices), NaN-padded; or (n_items,) confidences.
        labels: (n_items,) int, or (n_items, n_choices) bool; with confidences, (n_items,) bool.
        n_bins: the number of bins, at least 1.
        binning: `width` or `mass`.
        norm: `l1`, `l2` or `max`.
        debias: whether to remove the bias; with `l2` only.

    Raises:
        ValueError: the binning or norm is unknown, n_bins is below 1, or `debias` comes with another norm than l2.
    """
    return expected_calibration_error_statistic(probabilities, labels, n_bins, binning, norm, debias).value()


def expected_calibration_error_statistic(
    probabilities: ArrayLike,
    labels: ArrayLike,
    n_bins: int = 15,
    binning: Binning = "width",
    norm: Norm = "l1",
    debias: bool = False,
) -> FunctionOfMeans:
    """Return `expected_calibration_error` as a statistic; resamples keep the bins of the items themselves.

    A resample repeats items, so its ECE is biased upward once more: a percentile interval of a small ECE lies too
    high, and may not contain the value. Paired differences of two models suffer far less.
    """
    given = predictions(probabilities, labels)
    index = bin_index(given.confidence, n_bins, binning)
    return _binned_error(given.confidence, given.correct.astype(np.float64), index, norm, debias)


def classwise_calibration_error(
    probabilities: ArrayLike,
    labels: ArrayLike,
    n_bins: int = 15,
    binning: Binning = "width",
    norm: Norm = "l1",
) -> float:
    """Return the calibration error of each choice's probability, averaged over the choices' positions; 0 to 1.

    After Kull et al. (2019) and Nixon et al. (2019): position c (option A, B …) is a forecast, with probability p_c,
    that the choice there is correct. Its error is computed over the items that have such a choice, and the positions
    are averaged with equal weight.

    Args:
        probabilities: (n_items, n_choices), NaN-padded.
        labels: (n_items,) int, or (n_items, n_choices) bool.
        n_bins: as in `expected_calibration_error`, and so the others.
        binning: `width` or `mass`.
        norm: `l1`, `l2` or `max`.

    Raises:
        ValueError: `probabilities` are confidences, without choices.
    """
    if np.asarray(probabilities).ndim == 1:
        raise ValueError("class-wise calibration needs the probability of each choice, not one confidence an item")
    given = predictions(probabilities, labels)
    errors = []
    for choice in range(given.probabilities.shape[1]):
        rows = given.present[:, choice]
        if rows.any():
            p = np.minimum(given.probabilities[rows, choice], 1.0)
            correct = given.labels[rows, choice].astype(np.float64)
            errors.append(_binned_error(p, correct, bin_index(p, n_bins, binning), norm, debias=False).value())
    return float(np.mean(errors))


def overconfidence(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return mean confidence − accuracy, −1 to 1; above 0 the model is overconfident.

    Its size never exceeds the L1 calibration error, whatever the bins.

    Args:
        probabilities: (n_items, n_choices), NaN-padded; or (n_items,) confidences.
        labels: (n_items,) int, or (n_items, n_choices) bool; with confidences, (n_items,) bool.
    """
    return overconfidence_statistic(probabilities, labels).value()


def overconfidence_statistic(probabilities: ArrayLike, labels: ArrayLike) -> FunctionOfMeans:
    """Return `overconfidence` as a statistic."""
    given = predictions(probabilities, labels)
    return mean_statistic(given.confidence - given.correct)


def bin_index(confidence: FloatArray, n_bins: int, binning: Binning) -> NDArray[np.intp]:
    """Return the bin of each confidence, (n_items,), from 0.

    Args:
        confidence: (n_items,) from 0 to 1.
        n_bins: the number of bins, at least 1. With bins of equal width, bin `n_bins` holds confidences of exactly 1.
        binning: `width` or `mass`, as in `expected_calibration_error`.

    Raises:
        ValueError: n_bins is below 1, or the binning is unknown.
    """
    if n_bins < 1:
        raise ValueError(f"n_bins is {n_bins}; at least 1 is needed")
    if binning == "width":
        return np.searchsorted(width_edges(n_bins), confidence, side="right") - 1
    if binning == "mass":
        _, inverse, counts = np.unique(confidence, return_inverse=True, return_counts=True)
        first_rank = (np.cumsum(counts) - counts)[inverse]
        sizes = np.diff(np.arange(n_bins + 1) * (len(confidence) // n_bins))
        sizes[: len(confidence) % n_bins] += 1
        return np.searchsorted(np.cumsum(sizes), first_rank, side="right")
    raise ValueError(f"binning is {binning!r}; one of {', '.join(get_args(Binning))} is needed")


def width_edges(n_bins: int) -> FloatArray:
    """Return the edges k/n of bins of equal width, (n_bins + 1,), each the nearest float64."""
    edges: FloatArray = np.arange(n_bins + 1) / n_bins
    return edges


def _binned_error(
    confidence: FloatArray, correct: FloatArray, index: NDArray[np.intp], norm: Norm, debias: bool
) -> FunctionOfMeans:
    if norm not in get_args(Norm):
        raise ValueError(f"norm is {norm!r}; one of {', '.join(get_args(Norm))} is needed")
    if debias and norm != "l2":
        raise ValueError(f"debias is defined for norm 'l2' only, not {norm!r}")
    used, column = np.unique(index, return_inverse=True)
    n_items, n_used = len(confidence), len(used)
    member = (column[:, None] == np.arange(n_used)).astype(np.float64)
    gap = member * (confidence - correct)[:, None]
    if norm == "l1":
        return FunctionOfMeans(gap, lambda means: np.abs(means).sum(axis=-1))

    def squares(means: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the share of items in each bin, and the square of its gap; 0 for a bin that a resample left empty."""
        share, total = means[..., :n_used], means[..., n_used : 2 * n_used]
        mean_gap = np.divide(total, share, out=np.zeros_like(total), where=share > 0)
        return share, mean_gap**2

    if norm == "max":
        return FunctionOfMeans(np.hstack([member, gap]), lambda means: np.sqrt(squares(means)[1].max(axis=-1)))
    if not debias:
        return FunctionOfMeans(np.hstack([member, gap]), lambda means: np.sqrt(_dot(*squares(means))))

    def debiased(means: FloatArray) -> FloatArray:
        share, square = squares(means)
        hits = np.divide(means[..., 2 * n_used :], share, out=np.zeros_like(share), where=share > 0)
        # Counts are whole numbers; rounding keeps a bin of one item from dividing by a rounding error.
        count = np.rint(share * n_items)
        variance = hits * (1.0 - hits) / np.maximum(count - 1.0, 1.0)
        return np.sqrt(np.maximum(_dot(share, np.where(count > 1, square - variance, 0.0)), 0.0))

    return FunctionOfMeans(np.hstack([member, gap, member * correct[:, None]]), debiased)


def _dot(share: FloatArray, values: FloatArray) -> FloatArray:
    total: FloatArray = (share * values).sum(axis=-1)
    return total
