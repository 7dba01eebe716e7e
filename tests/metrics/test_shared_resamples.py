"""Shared resamples: pairing across subsets of items, centred intervals, and averages of statistics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mergekit_calib.metrics import (
    Resamples,
    WeightedAverage,
    accuracy_statistic,
    auroc_statistic,
    centred,
    centred_interval,
    expected_calibration_error_statistic,
    item_contributions,
    mean_of_some_statistic,
    mean_statistic,
    nll_statistic,
)


def test_statistics_of_some_items_use_the_resamples_of_all():
    values = np.random.default_rng(0).random(50)
    resamples = Resamples([20, 0, 30], 100, seed=3)
    items = np.arange(20, 50)
    part = resamples.bootstrap({"x": mean_statistic(values[items])}, items)["x"].replicates
    other = resamples.bootstrap({"x": mean_statistic(values[:20])}, np.arange(20))["x"].replicates
    whole = resamples.bootstrap({"x": mean_statistic(values)})["x"].replicates
    assert whole == pytest.approx((20 * other + 30 * part) / 50)


def test_the_same_strata_and_seed_are_the_same_resamples():
    statistic = {"x": mean_statistic(np.arange(40.0))}
    first, again, other = (Resamples([40], 30, seed).bootstrap(statistic)["x"].replicates for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_interval_of_a_small_calibration_error_contains_it_and_is_not_below_zero():
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.3, 1.0, 400)
    correct = rng.random(400) < confidence
    result = Resamples([400], 300).bootstrap({"ece": expected_calibration_error_statistic(confidence, correct)})["ece"]
    assert 0.0 <= result.low <= result.value <= result.high
    assert np.quantile(result.replicates, 0.025) > result.value - 0.01
    assert result.replicates.mean() > result.value


def test_a_centred_interval_holds_the_true_calibration_error_more_often_than_a_percentile_interval():
    rng, covered, n_sets = np.random.default_rng(2), {"centred": 0, "percentile": 0}, 60
    for _ in range(n_sets):
        confidence = rng.uniform(0.4, 1.0, 500)
        correct = rng.random(500) < confidence - 0.05
        statistic = expected_calibration_error_statistic(confidence, correct)
        result = Resamples([500], 100, seed=int(rng.integers(1 << 30))).bootstrap({"ece": statistic})["ece"]
        low, high = np.quantile(result.replicates, [0.025, 0.975])
        covered["centred"] += result.low <= 0.05 <= result.high
        covered["percentile"] += low <= 0.05 <= high
    assert covered["centred"] >= 0.75 * n_sets
    assert covered["centred"] > covered["percentile"]


@given(st.integers(0, 2**32 - 1))
def test_centred_replicates_have_the_value_as_their_mean(seed):
    rng = np.random.default_rng(seed)
    replicates, value = rng.normal(2.0, 1.0, (3, 2, 50)), rng.normal(size=(3, 2))
    moved = centred(replicates, value)
    assert moved.mean(axis=-1) == pytest.approx(value)
    assert moved.std(axis=-1) == pytest.approx(replicates.std(axis=-1))


def test_with_an_infinite_replicate_the_interval_is_not_centred():
    assert centred_interval([1.0, 2.0, 3.0, np.inf], 2.0, 0.5) == (1.0, 3.0)
    scores = np.array([[0.0, -np.inf], [0.0, -1.0]])
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    result = Resamples([2], 50).bootstrap({"nll": nll_statistic(p, np.array([1, 0]))})["nll"]
    assert result.value == np.inf
    assert result.high == np.inf


def test_an_average_of_statistics_has_the_average_of_their_values_and_replicates():
    rng = np.random.default_rng(4)
    p, labels = rng.dirichlet(np.ones(3), 40), rng.integers(3, size=40)
    first, second = accuracy_statistic(p[:15], labels[:15]), auroc_statistic(p[15:], labels[15:])
    average = WeightedAverage([first, second], [1.0, 3.0])
    weights = rng.multinomial(40, np.full(40, 1 / 40), size=20).astype(float)
    assert average.n_items == 40
    assert average.value() == pytest.approx(0.25 * first.value() + 0.75 * second.value())
    expected = 0.25 * first.replicates(weights[:, :15]) + 0.75 * second.replicates(weights[:, 15:])
    assert average.replicates(weights) == pytest.approx(expected)


def test_a_part_without_weight_does_not_affect_an_average():
    infinite, fine = mean_statistic([np.inf, 1.0]), mean_statistic([1.0, 3.0])
    average = WeightedAverage([infinite, fine], [0.0, 2.0])
    assert average.value() == 2.0
    assert average.replicates(np.ones((1, 4))).tolist() == [2.0]


def test_a_mean_of_some_items_counts_only_those_in_every_resample():
    values, given = np.array([1.0, np.nan, 4.0, np.nan]), np.array([True, False, True, False])
    statistic = mean_of_some_statistic(values, given)
    assert (statistic.n_items, statistic.value()) == (4, 2.5)
    assert statistic.replicates([[1, 1, 1, 1], [2, 1, 1, 0], [0, 3, 0, 1]]).tolist() == [2.5, 2.0, 2.5]
    with pytest.raises(ValueError, match="at least 1 item"):
        mean_of_some_statistic(values, ~given & given)


@given(st.integers(0, 2**32 - 1))
def test_the_contributions_of_a_mean_have_the_value_as_their_plain_mean(seed):
    rng = np.random.default_rng(seed)
    given = rng.random(12) < 0.5
    given[0] = True
    some = mean_of_some_statistic(np.where(given, rng.normal(size=12), np.nan), given)
    plain = mean_statistic(rng.normal(size=7))
    nested = WeightedAverage([plain, WeightedAverage([some, plain], [1.0, 0.5])], [2.0, 3.0])
    for statistic in (plain, some, WeightedAverage([plain, some], [0.3, 2.0]), nested):
        contributions = item_contributions(statistic)
        assert contributions.values.mean() == pytest.approx(statistic.value())
        assert contributions.values.shape == contributions.counted.shape == (statistic.n_items,)
    assert np.array_equal(item_contributions(some).counted, given)


def test_only_means_have_contributions():
    rng = np.random.default_rng(5)
    p, labels = rng.dirichlet(np.ones(3), 20), rng.integers(3, size=20)
    mean, error = accuracy_statistic(p, labels), expected_calibration_error_statistic(p, labels)
    results = Resamples([20], 10).bootstrap({"acc": mean, "ece": error, "auroc": auroc_statistic(p, labels)})
    assert results["acc"].contributions.mean() == results["acc"].value
    assert results["ece"].contributions is results["ece"].counted is results["auroc"].contributions is None
    assert item_contributions(WeightedAverage([mean, error], [1.0, 1.0])) is None
    without_weight = item_contributions(WeightedAverage([mean, error], [1.0, 0.0]))
    assert without_weight.values.mean() == pytest.approx(mean.value())
    assert not without_weight.counted[20:].any()


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [-1.0, 2.0]])
def test_weights_must_be_as_many_as_the_parts_and_not_all_zero(weights):
    with pytest.raises(ValueError, match="one above 0 is needed"):
        WeightedAverage([mean_statistic([1.0]), mean_statistic([2.0])], weights)
