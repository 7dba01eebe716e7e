"""Paired comparisons of points: standard errors of differences."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.metric_cases import random_items
from mergekit_calib import metrics
from mergekit_calib.analysis.paired import standard_errors
from mergekit_calib.results.findings import Objective

ACC = Objective(name="acc", metric="acc", direction="maximize")
NLL = Objective(name="nll", metric="nll", direction="minimize")
ECE = Objective(name="ece", metric="ece", direction="minimize")


def results_of(probabilities, labels, seed=0, n_resamples=2000):
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
    assert first == pytest.approx(drawn, rel=0.05)


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
    assert standard_errors(pair, [NLL])[0, 1, 0] == np.inf
    assert np.isnan(standard_errors([pair[0], pair[0]], [NLL])[0, 1, 0])
