"""How well confidence ranks correct answers above wrong ones: AUROC, risk against coverage, accuracy at a coverage.

The arguments of every function are checked by `inputs.predictions`, which also defines the answer to an item. If
items are equally confident, a metric is its mean over all ways to break the ties, so the order of items never matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mergekit_calib.metrics.inputs import Predictions, predictions
from mergekit_calib.metrics.statistic import FloatArray, WeightedStatistic


def auroc(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the probability that a correct answer has more confidence than a wrong one, ties counting half; 0 to 1.

    The area under the ROC curve of confidence as a detector of correct answers, as in scikit-learn's `roc_auc_score`;
    random confidence has 0.5. It does not change when confidences are rescaled by an increasing function.

    Args:
        probabilities: (n_items, n_choices), NaN-padded; or (n_items,) confidences.
        labels: (n_items,) int, or (n_items, n_choices) bool; with confidences, (n_items,) bool.

    Raises:
        ValueError: all answers are correct, or all are wrong.
    """
    return auroc_statistic(probabilities, labels).value()


def auroc_statistic(probabilities: ArrayLike, labels: ArrayLike) -> WeightedStatistic:
    """Return `auroc` as a statistic; a resample without correct answers, or without wrong ones, counts as 0.5."""
    given = predictions(probabilities, labels)
    if given.correct.all() or not given.correct.any():
        which = "correct" if given.correct.all() else "wrong"
        raise ValueError(f"all {len(given)} answers are {which}; AUROC compares correct answers with wrong ones")
    ranked = _Ranked.of(given)

    def area(weights: FloatArray) -> FloatArray:
        total, correct = ranked.totals(weights)
        wrong = total - correct
        n_wrong = wrong.sum(axis=1)
        below = n_wrong[:, None] - np.cumsum(wrong, axis=1) + wrong / 2.0
        pairs = correct.sum(axis=1) * n_wrong
        won: FloatArray = (correct * below).sum(axis=1)
        share: FloatArray = np.divide(won, pairs, out=np.full_like(won, 0.5), where=pairs > 0)
        return share

    return WeightedStatistic(len(given), area)


@dataclass(frozen=True)
class RiskCoverageCurve:
    """The error of the k most confident answers, for each k.

    Attributes:
        coverage: (n_items,) the share of items answered, 1/n to 1.
        risk: (n_items,) the share of wrong answers among them.
    """

    coverage: FloatArray
    risk: FloatArray


def risk_coverage_curve(probabilities: ArrayLike, labels: ArrayLike) -> RiskCoverageCurve:
    """Return the share of wrong answers among the most confident ones, at each coverage (El-Yaniv and Wiener 2010).

    Args:
        probabilities: (n_items, n_choices), NaN-padded; or (n_items,) confidences.
        labels: (n_items,) int, or (n_items, n_choices) bool; with confidences, (n_items,) bool.
    """
    given = predictions(probabilities, labels)
    total, correct = _Ranked.of(given).totals(np.ones((1, len(given))))
    size = total[0].astype(np.int64)
    # Averaged over tie breaks, each place within a group of equal confidence has the group's share of wrong answers.
    wrong = np.repeat((total[0] - correct[0]) / total[0], size)
    answered = np.arange(1, len(given) + 1)
    return RiskCoverageCurve(answered / len(given), np.cumsum(wrong) / answered)


def area_under_risk_coverage(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean of the risk-coverage curve over its n points, 0 to 1; less is better (AURC, Geifman et al. 2019).

    With random confidence it is the error rate; it is 0 only if every answer is correct. Unlike AUROC it rewards
    accuracy as well as ranking.

    Args:
        probabilities: (n_items, n_choices), NaN-padded; or (n_items,) confidences.
        labels: (n_items,) int, or (n_items, n_choices) bool; with confidences, (n_items,) bool.
    """
    return area_under_risk_coverage_statistic(probabilities, labels).value()


def area_under_risk_coverage_statistic(probabilities: ArrayLike, labels: ArrayLike) -> WeightedStatistic:
    """Return `area_under_risk_coverage` as a statistic."""
    given = predictions(probabilities, labels)
    ranked = _Ranked.of(given)

    def area(weights: FloatArray) -> FloatArray:
        total, correct = ranked.totals(weights)
        wrong = total - correct
        answered, wrong_before = np.cumsum(total, axis=1), np.cumsum(wrong, axis=1) - wrong
        # A group of m items, E of them wrong, after a items, e of them wrong, adds Σ_j (e + E·j/m) / (a + j), j = 1…m.
        harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, int(answered[:, -1].max()) + 1))])
        last = answered.astype(np.int64)
        first = last - total.astype(np.int64)
        span = harmonic[last] - harmonic[first]
        rate = np.divide(wrong, total, out=np.zeros_like(wrong), where=total > 0)
        risk: FloatArray = (wrong_before * span + rate * (total - first * span)).sum(axis=1)
        return risk / answered[:, -1]

    return WeightedStatistic(len(given), area)


def accuracy_at_coverage(probabilities: ArrayLike, labels: ArrayLike, coverage: float) -> float:
    """Return the accuracy on the most confident items, if only a share `coverage` of all is answered; 0 to 1.

    Args:
        probabilities: (n_items, n_choices), NaN-padded; or (n_items,) confidences.
        labels: (n_items,) int, or (n_items, n_choices) bool; with confidences, (n_items,) bool.
        coverage: above 0, at most 1; ⌈coverage · n_items⌉ items are answered.

    Raises:
        ValueError: coverage is outside its range.
    """
    return accuracy_at_coverage_statistic(probabilities, labels, coverage).value()


def accuracy_at_coverage_statistic(probabilities: ArrayLike, labels: ArrayLike, coverage: float) -> WeightedStatistic:
    """Return `accuracy_at_coverage` as a statistic."""
    if not 0.0 < coverage <= 1.0:
        raise ValueError(f"coverage is {coverage}; above 0 and at most 1 is needed")
    given = predictions(probabilities, labels)
    ranked = _Ranked.of(given)

    def accuracy(weights: FloatArray) -> FloatArray:
        total, correct = ranked.totals(weights)
        answered = np.cumsum(total, axis=1)
        # 0.07 · 100 is 7.000000000000001, which must not become 8 items.
        kept = np.ceil(np.round(coverage * answered[:, -1:], 9))
        taken = np.clip(kept - (answered - total), 0.0, total)
        rate = np.divide(correct, total, out=np.zeros_like(correct), where=total > 0)
        hits: FloatArray = (rate * taken).sum(axis=1)
        return hits / kept[:, 0]

    return WeightedStatistic(len(given), accuracy)


@dataclass(frozen=True)
class _Ranked:
    """Items from the most confident down, in groups of equal confidence.

    Attributes:
        order: (n_items,) the items in that order.
        starts: (n_groups,) the position in `order` at which each group starts.
        correct: (n_items,) 1 for a correct answer and 0 for a wrong one, in that order.
    """

    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    correct: FloatArray

    @classmethod
    def of(cls, given: Predictions) -> _Ranked:
        order = np.argsort(-given.confidence, kind="stable")
        ranked = given.confidence[order]
        starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        return cls(order, starts, given.correct[order].astype(np.float64))

    def totals(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the weight of each group, and the weight of its correct answers, both (r, n_groups)."""
        ranked = weights[:, self.order]
        total: FloatArray = np.add.reduceat(ranked, self.starts, axis=1)
        correct: FloatArray = np.add.reduceat(ranked * self.correct, self.starts, axis=1)
        return total, correct
