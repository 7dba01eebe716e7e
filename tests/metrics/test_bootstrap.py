"""The bootstrap: weights, pairing, intervals, and its cost."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from helpers.metric_cases import items, random_items
from mergekit_calib.metrics import (
    FunctionOfMeans,
    accuracy_statistic,
    auroc_statistic,
    bootstrap,
    brier_statistic,
    expected_calibration_error,
    expected_calibration_error_statistic,
    interval,
    mean_statistic,
    nll_statistic,
    overconfidence_statistic,
    resample_weights,
    smooth_ece_statistic,
)
from mergekit_calib.metrics import statistic as statistic_module

ECE_FORMS = [
    {"binning": binning, "norm": norm, "debias": debias}
    for binning in ("width", "mass")
    for norm, debias in [("l1", False), ("l2", False), ("l2", True), ("max", False)]
]


class TestWeights:
    def test_each_resample_draws_as_many_items_as_there_are(self):
        weights = resample_weights(37, 500)
        assert weights.shape == (500, 37)
        assert (weights == np.rint(weights)).all()
        assert (weights.sum(axis=1) == 37).all()

    def test_draws_are_uniform_and_independent(self):
        weights = resample_weights(50, 4000, seed=3)
        # An item's count is binomial(50, 1/50): mean 1, variance 0.98.
        assert np.abs(weights.mean(axis=0) - 1).max() < 4.5 * np.sqrt(0.98 / 4000)
        assert weights.var() == pytest.approx(0.98, rel=0.02)
        assert np.corrcoef(weights[:-1].ravel(), weights[1:].ravel())[0, 1] == pytest.approx(0, abs=0.01)

    def test_the_same_seed_gives_the_same_weights_and_more_resamples_only_add_rows(self):
        assert np.array_equal(resample_weights(20, 30, seed=1), resample_weights(20, 30, seed=1))
        assert np.array_equal(resample_weights(20, 30, seed=1)[:10], resample_weights(20, 10, seed=1))
        assert not np.array_equal(resample_weights(20, 30, seed=1), resample_weights(20, 30, seed=2))

    def test_each_stratum_is_resampled_by_itself(self):
        weights = resample_weights([5, 12, 5], 200)
        assert (weights[:, :5].sum(axis=1) == 5).all()
        assert (weights[:, 5:17].sum(axis=1) == 12).all()
        assert not np.array_equal(weights[:, :5], weights[:, 17:])

    @pytest.mark.parametrize(("n_items", "n_resamples"), [(0, 10), ([3, 0], 10), ([], 10), (5, 0)])
    def test_no_items_or_no_resamples_is_an_error(self, n_items, n_resamples):
        with pytest.raises(ValueError, match=r"n_items|n_resamples"):
            resample_weights(n_items, n_resamples)


class TestStatistics:
    @pytest.mark.parametrize("form", ECE_FORMS)
    def test_a_replicate_is_the_error_of_the_drawn_items_in_the_same_bins(self, form):
        p, y = random_items(150, 4, sharpness=0.4)
        statistic = expected_calibration_error_statistic(p, y, 10, **form)
        weights = resample_weights(150, 25)
        replicates = statistic.replicates(weights)
        assert statistic.replicates(np.ones((1, 150))) == pytest.approx([statistic.value()], abs=1e-12)
        assert statistic.value() == pytest.approx(expected_calibration_error(p, y, 10, **form))
        if form["binning"] == "width":
            for row, replicate in zip(weights, replicates, strict=True):
                drawn = np.repeat(np.arange(150), row.astype(int))
                expected = expected_calibration_error(p[drawn], y[drawn], 10, **form)
                assert replicate == pytest.approx(expected, abs=1e-7)

    @given(items(min_items=2), st.integers(0, 50))
    def test_replicates_are_never_nan(self, case, seed):
        weights = resample_weights(len(case[0]), 20, seed)
        statistics = [brier_statistic, nll_statistic, accuracy_statistic, overconfidence_statistic]
        replicates = [statistic(*case).replicates(weights) for statistic in statistics]
        replicates += [expected_calibration_error_statistic(*case, 7, **form).replicates(weights) for form in ECE_FORMS]
        assert not np.isnan(replicates).any()

    @pytest.mark.parametrize(
        "values", [[], [[1.0]], [0.0, np.nan], [-np.inf]], ids=["none", "two-dimensional", "NaN", "-inf"]
    )
    def test_a_mean_needs_one_number_for_each_item(self, values):
        with pytest.raises(ValueError, match="value"):
            mean_statistic(values)

    def test_contributions_must_be_two_dimensional_without_nan(self):
        for contributions in (np.array([[np.nan]]), np.empty((0, 2)), np.ones(3)):
            with pytest.raises(ValueError, match="contributions"):
                FunctionOfMeans(contributions, lambda means: means[..., 0])

    def test_weights_of_other_items_are_an_error(self):
        with pytest.raises(ValueError, match=r"\(n_resamples, 3\)"):
            mean_statistic([1.0, 2.0, 3.0]).replicates(np.ones((5, 4)))


class TestIntervals:
    def test_percentiles_of_a_mean_agree_with_scipy(self):
        values = np.random.default_rng(0).gamma(1.0, 1.0, 200)
        oracle = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1)
        result = bootstrap({"mean": mean_statistic(values)}, n_resamples=20_000)["mean"]
        assert result.value == pytest.approx(values.mean())
        assert (result.low, result.high) == pytest.approx(tuple(oracle.confidence_interval), abs=0.006)
        assert result.standard_error == pytest.approx(oracle.standard_error, rel=0.03)

    def test_about_the_stated_share_of_intervals_holds_the_truth(self):
        rng = np.random.default_rng(4)
        held = 0
        for seed in range(200):
            sample = rng.random(150) < 0.3
            result = bootstrap({"rate": mean_statistic(sample)}, 200, level=0.9, seed=seed)["rate"]
            held += result.low <= 0.3 <= result.high
        assert 0.84 <= held / 200 <= 0.95

    def test_one_item_has_an_interval_of_one_value(self):
        result = bootstrap({"a": mean_statistic([0.25])}, 50)["a"]
        assert (result.value, result.low, result.high, result.standard_error) == (0.25, 0.25, 0.25, 0.0)

    def test_items_that_are_all_alike_have_an_interval_of_one_value(self):
        p, y = np.array([[0.8, 0.2]] * 12), np.zeros(12, dtype=int)
        for statistic in (accuracy_statistic(p, y), expected_calibration_error_statistic(p, y), brier_statistic(p, y)):
            result = bootstrap({"a": statistic}, 50)["a"]
            assert (result.low, result.high) == pytest.approx((result.value, result.value), abs=1e-12)

    def test_an_infinite_likelihood_has_an_infinite_end_and_no_nan(self):
        p = np.vstack([[[0.0, 1.0]], random_items(30, 2)[0]])
        result = bootstrap({"nll": nll_statistic(p, np.zeros(31, dtype=int))}, 200)["nll"]
        assert result.value == result.high == np.inf
        assert not np.isnan(result.low)

    def test_a_level_of_1_or_a_nan_replicate_is_an_error(self):
        with pytest.raises(ValueError, match="level"):
            interval([1.0], 1.0)
        with pytest.raises(ValueError, match="NaN"):
            interval([1.0, np.nan])


class TestBootstrap:
    def test_statistics_share_their_resamples(self):
        p, y = random_items(300)
        results = bootstrap({"a": accuracy_statistic(p, y), "b": accuracy_statistic(p, y), "o": brier_statistic(p, y)})
        assert np.array_equal(results["a"].replicates, results["b"].replicates)
        alone = bootstrap({"o": brier_statistic(p, y)})["o"]
        assert np.array_equal(alone.replicates, results["o"].replicates)
        assert np.array_equal(results["o"].replicates, brier_statistic(p, y).replicates(resample_weights(300)))

    def test_pairing_narrows_a_difference(self):
        p, y = random_items(400)
        softer = p**0.9 / (p**0.9).sum(axis=1, keepdims=True)
        results = bootstrap({"a": brier_statistic(p, y), "b": brier_statistic(softer, y)})
        paired = (results["a"].replicates - results["b"].replicates).std()
        assert paired < 0.2 * np.hypot(results["a"].standard_error, results["b"].standard_error)

    @pytest.mark.parametrize("make", [brier_statistic, auroc_statistic, smooth_ece_statistic])
    def test_the_size_of_blocks_does_not_change_replicates(self, make, monkeypatch):
        statistic = make(*random_items(100))
        whole = bootstrap({"a": statistic}, 60)["a"].replicates
        monkeypatch.setattr(statistic_module, "BLOCK_ELEMENTS", 700)
        assert bootstrap({"a": statistic}, 60)["a"].replicates == pytest.approx(whole, abs=1e-12)

    def test_strata_keep_their_share_of_a_resample(self):
        values = np.concatenate([np.zeros(30), np.ones(70)])
        result = bootstrap({"mean": mean_statistic(values)}, 100, strata=[30, 70])["mean"]
        assert (result.low, result.high) == pytest.approx((0.7, 0.7))
        with pytest.raises(ValueError, match="strata of 99 items"):
            bootstrap({"mean": mean_statistic(values)}, strata=[30, 69])

    def test_statistics_of_different_items_are_an_error(self):
        with pytest.raises(ValueError, match=r"\[2, 3\] items"):
            bootstrap({"a": mean_statistic([1.0, 2.0]), "b": mean_statistic([1.0, 2.0, 3.0])})
        with pytest.raises(ValueError, match="at least 1"):
            bootstrap({})

    @pytest.mark.perf
    def test_mmlu_is_resampled_a_thousand_times_in_two_seconds(self):
        p, y = random_items(14_042)
        start = time.process_time()
        bootstrap(
            {
                "ece": expected_calibration_error_statistic(p, y),
                "brier": brier_statistic(p, y),
                "acc": accuracy_statistic(p, y),
            },
            n_resamples=1000,
        )
        assert time.process_time() - start < 2.0
