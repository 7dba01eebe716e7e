"""AUROC, risk against coverage, accuracy at a coverage."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from helpers.metric_cases import adversarial_items, items, random_items, top
from mergekit_calib.metrics import (
    accuracy,
    accuracy_at_coverage,
    accuracy_at_coverage_statistic,
    area_under_risk_coverage,
    area_under_risk_coverage_statistic,
    auroc,
    auroc_statistic,
    resample_weights,
    risk_coverage_curve,
)


def risks_over_all_tie_breaks(confidence, correct):
    """(n_items,) the mean risk of the k most confident items over every order that keeps confidence falling."""
    orders = [o for o in permutations(range(len(confidence))) if (np.diff(confidence[list(o)]) <= 0).all()]
    wrong = np.array([~correct[list(o)] for o in orders])
    return (np.cumsum(wrong, axis=1) / np.arange(1, len(confidence) + 1)).mean(axis=0)


@pytest.mark.parametrize("seed", range(4))
def test_auroc_equals_scikit_learns(seed):
    p, y = random_items(500, 3, seed, sharpness=0.5)
    confidence, correct = top(p, y)
    assert auroc(p, y) == pytest.approx(roc_auc_score(correct, confidence), abs=1e-12)


@pytest.mark.parametrize("case", ["confidence at bin edges", "certain, correct or wrong", "uniform, so all tied"])
def test_auroc_of_tied_confidences_equals_scikit_learns(case):
    p, y = adversarial_items()[case]
    confidence, correct = top(p, y)
    assert auroc(p, y) == pytest.approx(roc_auc_score(correct, confidence), abs=1e-12)


@given(items(min_items=2))
def test_auroc_is_the_share_of_pairs_in_the_correct_order(case):
    confidence, correct = top(*case)
    assume(correct.any() and not correct.all())
    more = confidence[correct][:, None] - confidence[~correct]
    assert auroc(*case) == pytest.approx(((more > 0) + 0.5 * (more == 0)).mean(), abs=1e-12)
    assert auroc(confidence**3, correct) == pytest.approx(auroc(*case), abs=1e-12)


def test_auroc_needs_a_correct_and_a_wrong_answer():
    with pytest.raises(ValueError, match="all 3 answers are correct"):
        auroc([0.5, 0.6, 0.7], [True, True, True])
    with pytest.raises(ValueError, match="all 1 answers are wrong"):
        auroc([0.5], [False])


def test_a_resample_without_wrong_or_without_correct_answers_counts_as_one_half():
    statistic = auroc_statistic([0.9, 0.6, 0.7], [True, True, False])
    assert statistic.replicates([[1, 2, 0], [0, 0, 3], [1, 1, 1]]).tolist() == [0.5, 0.5, 0.5]
    assert statistic.replicates([[2, 0, 1]]).tolist() == [1.0]


@given(items(max_items=6))
def test_risk_is_the_mean_over_all_ways_to_break_ties(case):
    expected = risks_over_all_tie_breaks(*top(*case))
    curve = risk_coverage_curve(*case)
    assert curve.risk == pytest.approx(expected, abs=1e-12)
    assert curve.coverage == pytest.approx(np.arange(1, len(expected) + 1) / len(expected))
    assert area_under_risk_coverage(*case) == pytest.approx(expected.mean(), abs=1e-12)
    for k, risk in enumerate(expected, start=1):
        assert accuracy_at_coverage(*case, k / len(expected)) == pytest.approx(1 - risk, abs=1e-12)


@given(items(), st.floats(0.01, 1.0), st.integers(0, 99))
def test_the_order_of_items_does_not_matter(case, coverage, seed):
    p, y = case
    order = np.random.default_rng(seed).permutation(len(p))
    assert area_under_risk_coverage(p[order], y[order]) == pytest.approx(area_under_risk_coverage(p, y), abs=1e-12)
    assert accuracy_at_coverage(p[order], y[order], coverage) == pytest.approx(
        accuracy_at_coverage(p, y, coverage), abs=1e-12
    )


def test_the_area_at_its_best_and_worst():
    confidence = np.linspace(0.1, 0.9, 50)
    assert area_under_risk_coverage(confidence, np.ones(50, dtype=bool)) == 0.0
    assert area_under_risk_coverage(confidence, np.zeros(50, dtype=bool)) == pytest.approx(1.0)
    assert area_under_risk_coverage(np.full(50, 0.5), np.arange(50) < 20) == pytest.approx(0.6)


def test_full_coverage_is_accuracy_and_any_coverage_answers_an_item():
    p, y = random_items(100)
    assert accuracy_at_coverage(p, y, 1.0) == pytest.approx(accuracy(p, y))
    confidence, correct = top(p, y)
    assert accuracy_at_coverage(p, y, 1e-9) == correct[confidence.argmax()]
    # 0.07 · 100 is a little above 7 in floating point: 7 items are answered all the same.
    seven = np.argsort(-confidence)[:7]
    assert accuracy_at_coverage(p, y, 0.07) == pytest.approx(correct[seven].mean())


@pytest.mark.parametrize("coverage", [0.0, -0.1, 1.1, np.nan])
def test_a_coverage_outside_0_to_1_is_an_error(coverage):
    with pytest.raises(ValueError, match="coverage"):
        accuracy_at_coverage([0.5], [True], coverage)


@pytest.mark.parametrize(
    "statistic",
    [
        auroc_statistic,
        area_under_risk_coverage_statistic,
        lambda p, y: accuracy_at_coverage_statistic(p, y, 0.3),
    ],
)
def test_a_replicate_is_the_metric_of_the_drawn_items(statistic):
    rng = np.random.default_rng(0)
    confidence, correct = rng.integers(1, 12, 40) / 12, rng.random(40) < 0.5
    weights = resample_weights(40, 20)
    replicates = statistic(confidence, correct).replicates(weights)
    for row, replicate in zip(weights, replicates, strict=True):
        drawn = np.repeat(np.arange(40), row.astype(int))
        assert replicate == pytest.approx(statistic(confidence[drawn], correct[drawn]).value(), abs=1e-12)
