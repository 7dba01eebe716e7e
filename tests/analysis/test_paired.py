"""Paired comparisons of points: standard errors, p-values and intervals of differences, and ties on resamples."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.metric_cases import random_items
from mergekit_calib import metrics
from mergekit_calib.analysis.frontier_uncertainty import frontier_probabilities
from mergekit_calib.analysis.paired import changes, comparable_replicates, differences, gain_p_values, standard_errors
from mergekit_calib.results.findings import Objective

ACC = Objective(metric="acc", direction="maximize")
NLL = Objective(metric="nll", direction="minimize")
ECE = Objective(metric="ece", direction="minimize")


def results_of(probabilities, labels, seed=0, n_resamples=500):
    statistics = {
        "acc": metrics.accuracy_statistic(probabilities, labels),
        "nll": metrics.nll_statistic(probabilities, labels),
        "ece": metrics.expected_calibration_error_statistic(probabilities, labels),
    }
    return metrics.Resamples([len(labels)], n_resamples, seed).bootstrap(statistics)


def test_the_standard_error_of_a_difference_in_accuracy_is_that_of_mcnemars_test():
    (first, labels), (second, _) = random_items(300), random_items(300, seed=1)
    errors = standard_errors([results_of(first, labels), results_of(second, labels)], [ACC])
    n_discordant = np.sum((first.argmax(axis=1) == labels) != (second.argmax(axis=1) == labels))
    assert errors[0, 1, 0] == errors[1, 0, 0] == pytest.approx(np.sqrt(n_discordant) / 300)
    assert errors[0, 0, 0] == errors[1, 1, 0] == 0.0


def test_the_standard_error_of_a_mean_does_not_depend_on_the_seed_and_agrees_with_the_bootstrap():
    p, labels = random_items(400)
    softer = p**0.9 / (p**0.9).sum(axis=1, keepdims=True)
    pairs = [[results_of(p, labels, seed), results_of(softer, labels, seed)] for seed in (0, 1)]
    first, again = (standard_errors(pair, [NLL, ECE])[0, 1] for pair in pairs)
    assert first[0] == again[0]
    assert first[1] != again[1]
    drawn = [np.std(pairs[0][0][name].replicates - pairs[0][1][name].replicates) for name in ("nll", "ece")]
    # The items' differences count from 0, not from their mean, which is small here.
    assert first == pytest.approx(drawn, rel=0.1)


def test_means_over_different_items_are_compared_on_the_resamples():
    rng = np.random.default_rng(2)
    values, given = rng.random((2, 200)), np.ones((2, 200), dtype=bool)
    given[1, :50] = False
    statistics = {i: metrics.mean_of_some_statistic(values[i], given[i]) for i in range(2)}
    drawn = metrics.Resamples([200], 500).bootstrap(statistics)
    errors = standard_errors([{"acc": drawn[0]}, {"acc": drawn[1]}], [ACC])
    assert errors[0, 1, 0] == pytest.approx(np.std(drawn[0].replicates - drawn[1].replicates, ddof=1))


def test_the_standard_error_of_an_infinite_mean_is_not_finite():
    p, labels = np.array([[1.0, 0.0], [0.5, 0.5], [0.4, 0.6]]), np.array([1, 0, 0])
    pair = [results_of(p, labels), results_of(np.full((3, 2), 0.5), labels)]
    for one in (pair, pair[::-1]):
        assert standard_errors(one, [NLL])[0, 1, 0] == standard_errors(one, [NLL])[1, 0, 0] == np.inf
    assert np.isnan(standard_errors([pair[0], pair[0]], [NLL])[0, 1, 0])


def of_accuracies(*correct, seed: int = 0, n_resamples: int = 1000):
    """Return the results of models that answer these items correctly or not."""
    resamples = metrics.Resamples([len(correct[0])], n_resamples, seed)
    return [resamples.bootstrap({"acc": metrics.mean_statistic(each)}) for each in correct]


def test_four_discordant_items_all_in_favour_have_the_p_of_the_exact_sign_test_with_every_seed():
    theirs = np.arange(150) % 4 > 0
    mine = theirs.copy()
    mine[:16:4] = True
    for seed in range(10):
        pair = of_accuracies(mine, theirs, seed=seed)
        assert gain_p_values(pair[:1], pair[1:], [ACC]).item() == pytest.approx(0.5**4)
        difference = differences(*pair, [ACC], 0.95, {"acc": 150})["acc"]
        assert difference.p == pytest.approx(0.5**4)
        assert difference.low < 0.0 < difference.value == pytest.approx(4 / 150)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_an_interval_contains_0_if_and_only_if_the_two_sided_test_does_not_reject_it(level):
    rng, rejected = np.random.default_rng(7), 0
    for _ in range(150):
        n_discordant = rng.integers(1, 25)
        signs = np.where(rng.random(n_discordant) < rng.choice([0.5, 0.85, 1.0]), 1.0, -1.0)
        # Of accuracy, and of a score whose differences are of all sizes.
        sizes = rng.choice([1.0, 0.0]) or rng.lognormal(0.0, 1.5, n_discordant)
        mine, theirs = np.zeros((2, 60))
        mine[:n_discordant] = signs * sizes
        pair = of_accuracies(mine, theirs, n_resamples=10)
        p = min(gain_p_values(pair[i : i + 1], pair[1 - i : 2 - i], [ACC]).item() for i in (0, 1))
        difference = differences(*pair, [ACC], level, {})["acc"]
        assert (difference.low <= 0.0 <= difference.high) == (2 * p > 1 - level)
        rejected += 2 * p <= 1 - level
    assert 20 < rejected < 130


def test_neither_p_nor_interval_of_a_mean_depends_on_the_seed_and_those_of_the_bootstrap_agree_with_each_other():
    p, labels = random_items(300)
    sharper = p**1.5 / (p**1.5).sum(axis=1, keepdims=True)
    first, again = (
        differences(results_of(sharper, labels, s), results_of(p, labels, s), [NLL, ECE], 0.95, {}) for s in (0, 1)
    )
    assert first["nll"] == again["nll"]
    assert first["ece"] != again["ece"]
    for seed in range(20):
        p, labels = random_items(150, seed=seed)
        pair = results_of(p**1.3 / (p**1.3).sum(axis=1, keepdims=True), labels), results_of(p, labels)
        ece = differences(*pair, [ECE], 0.9, {})["ece"]
        assert (ece.low <= 0.0 <= ece.high) == (0.05 < ece.p < 0.95)


def test_items_that_are_scored_alike_up_to_rounding_do_not_differ():
    scores = np.random.default_rng(1).random(40)
    pair = of_accuracies(scores + 1e-16, scores * (1 + 1e-15))
    assert gain_p_values(pair[:1], pair[1:], [ACC]).item() == 1.0
    assert standard_errors(pair, [ACC])[0, 1, 0] == 0.0


def test_a_change_that_differs_between_two_splits_is_tested_on_the_resamples():
    rng = np.random.default_rng(2)
    results = [of_accuracies(rng.random(80) < a, rng.random(80) < b) for a, b in ((0.5, 0.8), (0.5, 0.5))]
    first, second = (changes(start, end) for start, end in results)
    difference = differences(first, second, [ACC], 0.95, {"acc": 160})["acc"]
    assert difference.value == pytest.approx(first["acc"].value - second["acc"].value)
    assert difference.low < difference.value < difference.high


def test_points_that_tie_on_the_items_tie_on_every_resample():
    rng = np.random.default_rng(3)
    n = 60
    correct = rng.random(n) < 0.7
    elsewhere = correct.copy()
    elsewhere[rng.choice(np.flatnonzero(correct), 3)] = False
    points = of_accuracies(correct, elsewhere, correct.copy(), n_resamples=400)
    counts = metrics.resample_weights(n, 400)
    on_frontier = np.mean(counts @ elsewhere >= counts @ correct)
    assert 0.0 < on_frontier < 0.2
    assert frontier_probabilities(points, [ACC]) == pytest.approx([1.0, on_frontier, 1.0])


def test_averages_that_are_equal_in_exact_arithmetic_are_equal_on_resamples():
    # One more correct item of three, or seven more of twenty-one: 1/3 each, by different sums of binary fractions.
    sizes = [3, 21]
    few, many = np.zeros(24), np.zeros(24)
    few[0], many[3:10] = 1.0, 1.0
    resamples = metrics.Resamples(sizes, 3000)
    points = []
    for values in (few, many):
        parts = [metrics.mean_statistic(values[:3]), metrics.mean_statistic(values[3:])]
        points.append(resamples.bootstrap({"acc": metrics.WeightedAverage(parts, [0.1, 0.1])}))
    counts = metrics.resample_weights(sizes, 3000)
    # 42 times the average is a whole number.
    exact = [7 * (counts[:, :3] @ each[:3]) + counts[:, 3:] @ each[3:] for each in (few, many)]
    drawn = comparable_replicates(points, [ACC])[:, 0]
    assert np.array_equal(drawn[0] == drawn[1], exact[0] == exact[1])
    assert np.array_equal(drawn[0] < drawn[1], exact[0] < exact[1])
    assert 50 < np.count_nonzero(exact[0] == exact[1]) < 2000


def test_only_statistics_that_are_not_means_are_centred():
    p, labels = random_items(200, sharpness=2.0)
    point = results_of(p, labels, n_resamples=300)
    acc, ece = comparable_replicates([point], [ACC, ECE])[0]
    assert acc == pytest.approx(point["acc"].replicates, rel=1e-12)
    assert ece.mean() == pytest.approx(point["ece"].value)
    assert point["ece"].replicates.mean() > point["ece"].value + 1e-3
    assert (point["acc"].low, point["acc"].high) == metrics.interval(point["acc"].replicates)
