"""The arguments of metrics: probabilities and labels, checked once, and the answer to each item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mergekit_calib.metrics.statistic import FloatArray

BoolArray = NDArray[np.bool_]

SUM_TOLERANCE = 1e-6
"""The largest difference between 1 and the sum of a row of probabilities."""


@dataclass(frozen=True)
class Predictions:
    """Checked probabilities and labels of n_items items.

    Attributes:
        probabilities: (n_items, n_choices) probability of each choice; 0 where an item has no such choice.
        labels: (n_items, n_choices) which choices are correct; False where an item has no such choice.
        present: (n_items, n_choices) which choices an item has.
        confidence: (n_items,) probability of the answer, the most probable choice.
        correct: (n_items,) whether that answer is correct.
    """

    probabilities: FloatArray
    labels: BoolArray
    present: BoolArray
    confidence: FloatArray
    correct: BoolArray

    def __len__(self) -> int:
        return len(self.confidence)

    @property
    def label_mass(self) -> FloatArray:
        """The total probability of each item's correct choices, (n_items,), at most 1."""
        mass: FloatArray = np.where(self.labels, self.probabilities, 0.0).sum(axis=1)
        return np.minimum(mass, 1.0)


def predictions(probabilities: ArrayLike, labels: ArrayLike) -> Predictions:
    """Check a metric's arguments and find the answer to each item.

    The answer is the most probable choice, of equal ones the first (as in `numpy.argmax` and lm-eval), and the item is
    correct if that choice is. (n_items,) confidences stand for two outcomes, correct and wrong, of probability
    confidence and 1 − confidence.

    Args:
        probabilities: (n_items, n_choices) rows summing to 1 within 1e-6, NaN-padded on the right where an item has
            fewer choices. Or (n_items,) the confidence in each answer, if there are no choices to compare, as when the
            answer is the majority of several generations.
        labels: (n_items,) int, the correct choice; or (n_items, n_choices) bool, if several may be correct. With
            (n_items,) confidences, (n_items,) bool: whether each answer is correct.

    Raises:
        ValueError: there are no items; NaN stands elsewhere than in padding; a probability is outside 0 to 1, or a row
            does not sum to 1; a label is not among the item's choices; an item has no correct choice; shapes or types
            do not fit.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    y = np.asarray(labels)
    if p.ndim not in (1, 2):
        raise ValueError(f"probabilities have shape {p.shape}; (n_items, n_choices) is needed")
    if p.size == 0 or y.size == 0:
        raise ValueError(f"no items: probabilities have shape {p.shape}, labels {y.shape}; at least 1 item is needed")
    if p.ndim == 1:
        return _of_confidences(p, y)
    present = _check_probabilities(p)
    correct = correct_choices(y, present)
    filled = np.where(present, p, 0.0)
    answer = filled.argmax(axis=1)
    rows = np.arange(len(p))
    return Predictions(filled, correct, present, np.minimum(filled[rows, answer], 1.0), correct[rows, answer])


def _of_confidences(confidence: FloatArray, labels: NDArray[np.generic]) -> Predictions:
    if labels.shape != confidence.shape or labels.dtype != np.bool_:
        raise ValueError(
            f"labels have shape {labels.shape} and type {labels.dtype}; with confidences of shape {confidence.shape} "
            "they must be bool of the same shape: whether each answer is correct"
        )
    outside = ~((confidence >= 0) & (confidence <= 1))
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise ValueError(f"confidence of item {row} is {confidence[row]}; 0 to 1 is needed")
    correct = labels.astype(np.bool_)
    pair = np.stack([confidence, 1.0 - confidence], axis=1)
    outcomes = np.stack([correct, ~correct], axis=1)
    return Predictions(pair, outcomes, np.ones_like(outcomes), confidence, correct)


def _check_probabilities(p: FloatArray) -> BoolArray:
    """Return which choices each item has, (n_items, n_choices).

    Raises:
        ValueError: NaN stands elsewhere than in padding, or a row is not a probability distribution.
    """
    present = ~np.isnan(p)
    holes = (present[:, 1:] & ~present[:, :-1]).any(axis=1) | ~present[:, 0]
    if holes.any():
        row = int(np.flatnonzero(holes)[0])
        raise ValueError(f"probabilities of item {row} hold NaN: {_shown(p[row])}; NaN may only pad a row on its right")
    filled = np.where(present, p, 0.0)
    with np.errstate(invalid="ignore"):
        invalid = ~(np.abs(filled.sum(axis=1) - 1.0) <= SUM_TOLERANCE) | (filled < 0).any(axis=1)
    if invalid.any():
        row = int(np.flatnonzero(invalid)[0])
        raise ValueError(
            f"probabilities of item {row} are {_shown(p[row])}; each must be at least 0 and their sum 1 "
            f"(within {SUM_TOLERANCE:g})"
        )
    return present


def correct_choices(labels: NDArray[np.generic], present: BoolArray) -> BoolArray:
    """Return which choices are correct, (n_items, n_choices), from either form of labels.

    Args:
        labels: (n_items,) int, or (n_items, n_choices) bool.
        present: (n_items, n_choices) which choices each item has.

    Raises:
        ValueError: a label is not among the item's choices; an item has no correct choice; shape or type do not fit.
    """
    n_items, n_choices = present.shape
    if labels.dtype == np.bool_ and labels.shape == present.shape:
        correct = labels.astype(np.bool_)
        misplaced = (correct & ~present).any(axis=1)
    elif np.issubdtype(labels.dtype, np.integer) and labels.shape == (n_items,):
        index = labels.astype(np.int64)
        correct = np.arange(n_choices) == index[:, None]
        misplaced = (index < 0) | (index >= present.sum(axis=1))
    else:
        raise ValueError(
            f"labels have shape {labels.shape} and type {labels.dtype}; ({n_items},) int or "
            f"({n_items}, {n_choices}) bool is needed"
        )
    if misplaced.any():
        row = int(np.flatnonzero(misplaced)[0])
        raise ValueError(f"label of item {row} is {labels[row]}, but the item has {int(present[row].sum())} choices")
    if not correct.any(axis=1).all():
        raise ValueError(f"item {int(np.flatnonzero(~correct.any(axis=1))[0])} has no correct choice")
    return correct


def _shown(row: FloatArray) -> str:
    return np.array2string(row, precision=6, threshold=8, edgeitems=3)
