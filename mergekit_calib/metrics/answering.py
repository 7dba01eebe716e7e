"""Where to stop answering: the confidence from which a model answers so that its error stays below a target.

Answers of equal confidence go together: all of them are given, or none. Thresholds are rounded down to a number that
can be printed, and everything is counted with the rounded number, so what is printed is what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from mergekit_calib.metrics.inputs import predictions
from mergekit_calib.metrics.statistic import FloatArray

N_CANDIDATES = 20
"""How many thresholds `safe_threshold` tries: those that answer 5 %, 10 %, … 100 % of the items."""

_FEWEST_DECIMALS = 3
_MOST_DECIMALS = 12


@dataclass(frozen=True)
class Answered:
    """What a model does that answers only from a confidence upwards.

    Attributes:
        threshold: it answers the items with at least this confidence, 0 to 1.
        n_items: how many items there are.
        n_answered: how many of them it answers.
        n_wrong: how many of its answers are wrong.
    """

    threshold: float
    n_items: int
    n_answered: int
    n_wrong: int

    @property
    def coverage(self) -> float:
        """The share of items that are answered, 0 to 1."""
        return self.n_answered / self.n_items

    @property
    def error(self) -> float:
        """The share of wrong answers among those given, 0 to 1; NaN if none is given."""
        return self.n_wrong / self.n_answered if self.n_answered else float("nan")


def answered_from(probabilities: ArrayLike, labels: ArrayLike, threshold: float) -> Answered:
    """Return how many items are answered from a confidence upwards, and how many of the answers are wrong.

    Args:
        probabilities: (n_items, n_choices), NaN-padded; or (n_items,) confidences.
        labels: (n_items,) int, or (n_items, n_choices) bool; with confidences, (n_items,) bool.
        threshold: the least confidence that is answered, 0 to 1.
    """
    given = predictions(probabilities, labels)
    counts = _Counts.at(given.confidence, given.correct, np.array([threshold]))
    return counts.answered(0)


def plain_threshold(probabilities: ArrayLike, labels: ArrayLike, max_error: float) -> Answered | None:
    """Return the threshold that answers most items with an error of at most `max_error`; None if there is none.

    The error is that of these items, without a margin. As it is chosen because it is low, the error on new items is
    above the target about as often as below it, and more often if several thresholds are about as good.

    Args:
        probabilities: (n_items, n_choices), NaN-padded; or (n_items,) confidences.
        labels: (n_items,) int, or (n_items, n_choices) bool; with confidences, (n_items,) bool.
        max_error: the largest share of wrong answers among those given, above 0 and below 1.

    Raises:
        ValueError: `max_error` is outside its range.
    """
    _check_share("max_error", max_error)
    given = predictions(probabilities, labels)
    counts = _Counts.at(given.confidence, given.correct, _printable(given.confidence))
    # Not the rates are compared, because 0.05 · 20 is exact and 1 / 20 ≤ 0.05 need not be.
    return counts.most_answered(counts.wrong <= max_error * counts.given + 1e-9)


def safe_threshold(
    probabilities: ArrayLike, labels: ArrayLike, max_error: float, level: float = 0.95
) -> Answered | None:
    """Return the threshold that answers most items and is shown to have an error of at most `max_error`, or None.

    Learn then Test with a fixed sequence (Angelopoulos et al. 2021). The candidates are the thresholds that answer 5 %,
    10 %, … 100 % of these items; they are placed by the confidences alone, before it is known which answers are wrong.
    They are tested from the most confident down, beginning with the first that answers enough items to show the target
    at all (59 items, all correct, for 5 % at a level of 0.95). A candidate passes if the one-sided upper
    Clopper-Pearson bound of its error is at most `max_error`, and the first that does not ends the sequence. So with
    probability `level` or more, the error on new items of the last one that passed is at most `max_error`, and it need
    not be assumed that the error falls with the confidence.

    Simulated with a slightly overconfident model whose best threshold answers 18 % of the items (300 sets of items): at
    n = 1,000 / 2,500 / 7,000 a threshold is found in 25 / 76 / 99 %, is too low in 1 % each, and answers 11 % of the
    items at n = 7,000. `plain_threshold` always finds one, and it is too low in 56 / 59 / 48 %.

    Args:
        probabilities: (n_items, n_choices), NaN-padded; or (n_items,) confidences.
        labels: (n_items,) int, or (n_items, n_choices) bool; with confidences, (n_items,) bool.
        max_error: the largest share of wrong answers among those given, above 0 and below 1.
        level: the probability that the choice is safe, above 0 and below 1.

    Raises:
        ValueError: `max_error` or `level` is outside its range.
    """
    _check_share("max_error", max_error)
    _check_share("level", level)
    given = predictions(probabilities, labels)
    descending = np.sort(given.confidence)[::-1]
    places = np.ceil(np.arange(1, N_CANDIDATES) / N_CANDIDATES * len(given) - 1e-9).astype(np.intp) - 1
    candidates = _printable(descending[np.maximum(places, 0)])[::-1]
    counts = _Counts.at(given.confidence, given.correct, candidates)
    least = np.log(1.0 - level) / np.log(1.0 - max_error)  # answers that, all correct, have the bound `max_error`
    passed = _upper_bounds(counts.wrong, counts.given, level) <= max_error
    allowed = np.zeros(len(candidates), dtype=np.bool_)
    for i in np.flatnonzero(counts.given >= least).tolist():
        if not passed[i]:
            break
        allowed[i] = True
    return counts.most_answered(allowed)


def printed_decimals(confidence: float) -> int:
    """Return how many decimals a threshold near `confidence` needs: 3, and more above 0.99 for two digits of 1 − it."""
    left = 1.0 - confidence
    if left <= 0.0:
        return _FEWEST_DECIMALS
    return int(np.clip(1 - np.floor(np.log10(left)), _FEWEST_DECIMALS, _MOST_DECIMALS))


def _printable(confidences: FloatArray) -> FloatArray:
    """Return confidences rounded down to the decimals that are printed of them; each number once, and 0 for all."""
    found = {0.0}
    for confidence in np.unique(confidences).tolist():
        decimals = printed_decimals(confidence)
        nearest = round(confidence, decimals)
        # Rounded upwards, the threshold would leave out the item that it was made from.
        found.add(nearest if nearest <= confidence else round(nearest - 10.0**-decimals, decimals))
    return np.array(sorted(found))


@dataclass(frozen=True)
class _Counts:
    """Answers from several thresholds upwards.

    Attributes:
        thresholds: (n,) the thresholds.
        n_items: how many items there are.
        given: (n,) how many items each answers.
        wrong: (n,) how many of these answers are wrong.
    """

    thresholds: FloatArray
    n_items: int
    given: NDArray[np.intp]
    wrong: NDArray[np.intp]

    @classmethod
    def at(cls, confidence: FloatArray, correct: NDArray[np.bool_], thresholds: FloatArray) -> _Counts:
        order = np.argsort(confidence, kind="stable")
        below = np.searchsorted(confidence[order], thresholds, side="left")
        wrong_below = np.concatenate([[0], np.cumsum(~correct[order])])
        return cls(thresholds, len(confidence), len(confidence) - below, wrong_below[-1] - wrong_below[below])

    def answered(self, i: int) -> Answered:
        return Answered(float(self.thresholds[i]), self.n_items, int(self.given[i]), int(self.wrong[i]))

    def most_answered(self, allowed: NDArray[np.bool_]) -> Answered | None:
        """Return the highest threshold of those allowed that answer most items; None if none answers any."""
        rows = np.flatnonzero(allowed & (self.given > 0))
        if not len(rows):
            return None
        best = max(rows.tolist(), key=lambda i: (self.given[i], self.thresholds[i] if self.thresholds[i] else 2.0))
        return self.answered(best)


def _upper_bounds(wrong: NDArray[np.intp], given: NDArray[np.intp], level: float) -> FloatArray:
    """Return one-sided upper Clopper-Pearson bounds of a share, (n,); 1 where nothing is given or all is wrong."""
    bounds = np.ones(len(given))
    known = (given > 0) & (wrong < given)
    bounds[known] = beta.ppf(level, wrong[known] + 1, given[known] - wrong[known])
    return bounds


def _check_share(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} is {value}; between 0 and 1 is needed")
