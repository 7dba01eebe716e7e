"""What the metrics take in: probabilities and labels checked once, and the answer that each item's model gave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mergekit_calib.metrics.statistic import FloatArray

BoolArray = NDArray[np.bool_]

SUM_TOLERANCE = 1e-6
"""How far a row of probabilities may sum from 1."""


@dataclass(frozen=True)
class Predictions:
    """Checked probabilities and labels of n_items items.

    Attributes:
        probabilities: (n_items, n_choices) probability of each choice; 0 where an item has no such choice.
        right: (n_items, n_choices) which choices are right; False where an item has no such choice.
        present: (n_items, n_choices) which choices an item has.
        confidence: (n_items,) probability of the answer given, the most probable choice.
        correct: (n_items,) whether that answer is right.
    """

    probabilities: FloatArray
    right: BoolArray
    present: BoolArray
    confidence: FloatArray
    correct: BoolArray

    def __len__(self) -> int:
        return len(self.confidence)

    @property
    def right_mass(self) -> FloatArray:
        """(n_items,) total probability of the right choices, at most 1."""
        mass: FloatArray = np.where(self.right, self.probabilities, 0.0).sum(axis=1)
        return np.minimum(mass, 1.0)


def predictions(probabilities: ArrayLike, labels: ArrayLike) -> Predictions:
    """Check a metric's arguments and find the answer given to each item.

    Args:
        probabilities: (n_items, n_choices) rows summing to 1 within 1e-6, NaN-padded on the right where an item has
            fewer choices. Or (n_items,) the confidence in the answer given, where there are no choices to compare,
            as when the answer is the majority of several generations.
        labels: (n_items,) int, the right choice; or (n_items, n_choices) bool, where several may be right. With
            (n_items,) confidences, (n_items,) bool: whether the answer given is right.

    The answer given is the most probable choice, of equal ones the first (as `numpy.argmax` and lm-eval), and the
    item is correct when that choice is right. (n_items,) confidences stand for two outcomes, right and wrong, of
    probability confidence and 1 − confidence.

    Raises:
        ValueError: no items; NaN but for padding; a probability outside 0 to 1 or a row that does not sum to 1; a
            label outside the item's choices; an item with no right choice; shapes or types that do not fit.
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
    right = correct_choices(y, present)
    filled = np.where(present, p, 0.0)
    answer = filled.argmax(axis=1)
    rows = np.arange(len(p))
    return Predictions(filled, right, present, np.minimum(filled[rows, answer], 1.0), right[rows, answer])


def _of_confidences(confidence: FloatArray, labels: NDArray[np.generic]) -> Predictions:
    if labels.shape != confidence.shape or labels.dtype != np.bool_:
        raise ValueError(
            f"labels have shape {labels.shape} and type {labels.dtype}; with confidences of shape {confidence.shape} "
            "they must be as many bool: whether each answer is right"
        )
    outside = ~((confidence >= 0) & (confidence <= 1))
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise ValueError(f"confidence of item {row} is {confidence[row]}; 0 to 1 is needed")
    correct = labels.astype(np.bool_)
    pair = np.stack([confidence, 1.0 - confidence], axis=1)
    right = np.stack([correct, ~correct], axis=1)
    return Predictions(pair, right, np.ones_like(right), confidence, correct)


def _check_probabilities(p: FloatArray) -> BoolArray:
    """(n_items, n_choices) which choices are there; raises where NaN is not padding or a row is no distribution."""
    present = ~np.isnan(p)
    holes = (present[:, 1:] & ~present[:, :-1]).any(axis=1) | ~present[:, 0]
    if holes.any():
        row = int(np.flatnonzero(holes)[0])
        raise ValueError(f"probabilities of item {row} hold NaN: {_shown(p[row])}; NaN may only pad a row on its right")
    filled = np.where(present, p, 0.0)
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(filled.sum(axis=1) - 1.0) <= SUM_TOLERANCE) | (filled < 0).any(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"probabilities of item {row} are {_shown(p[row])}; each must be at least 0 and their sum 1 "
            f"(within {SUM_TOLERANCE:g})"
        )
    return present


def correct_choices(labels: NDArray[np.generic], present: BoolArray) -> BoolArray:
    """(n_items, n_choices) which choices are right, from either form of labels; raises as `predictions` does."""
    n_items, n_choices = present.shape
    if labels.dtype == np.bool_ and labels.shape == present.shape:
        right = labels.astype(np.bool_)
        misplaced = (right & ~present).any(axis=1)
    elif np.issubdtype(labels.dtype, np.integer) and labels.shape == (n_items,):
        index = labels.astype(np.int64)
        right = np.arange(n_choices) == index[:, None]
        misplaced = (index < 0) | (index >= present.sum(axis=1))
    else:
        raise ValueError(
            f"labels have shape {labels.shape} and type {labels.dtype}; ({n_items},) int or "
            f"({n_items}, {n_choices}) bool is needed"
        )
    if misplaced.any():
        row = int(np.flatnonzero(misplaced)[0])
        raise ValueError(f"label of item {row} is {labels[row]}, but the item has {int(present[row].sum())} choices")
    if not right.any(axis=1).all():
        raise ValueError(f"item {int(np.flatnonzero(~right.any(axis=1))[0])} has no right choice")
    return right


def _shown(row: FloatArray) -> str:
    return np.array2string(row, precision=6, threshold=8, edgeitems=3)
