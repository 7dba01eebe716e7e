"""Trends past the aligned model: their p-values need no seed, and agree with those of the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from mergekit_calib import metrics
from mergekit_calib.analysis.extrapolation import optima, trends
from mergekit_calib.results.findings import Objective

ACC = Objective(metric="acc", direction="maximize")
LAMBDAS = (1.0, 1.25, 1.5, 1.75)


def along(seed: int = 0, levels=(0.7, 0.6, 0.635, 0.5), n: int = 300):
    """Return λ → results of models whose accuracy falls, rises a little, and falls again."""
    difficulty = np.random.default_rng(0).random((n, 1)) + 0.1 * np.random.default_rng(1).standard_normal((n, 4))
    resamples = metrics.Resamples([n], 1000, seed)
    return {
        lam: resamples.bootstrap({"acc": metrics.mean_statistic(difficulty[:, i] < level)})
        for i, (lam, level) in enumerate(zip(LAMBDAS, levels, strict=True))
    }


def test_the_p_of_a_trend_of_a_mean_does_not_depend_on_the_seed_and_agrees_with_the_bootstrap():
    (first,), (again,) = (trends(along(seed), [ACC], 0.95) for seed in (0, 1))
    assert first.p_monotone == again.p_monotone
    results = along()
    values = np.array([results[lam]["acc"].value for lam in LAMBDAS])
    replicates = np.array([results[lam]["acc"].replicates for lam in LAMBDAS])
    assert 0.005 < first.p_monotone < 0.5
    assert first.p_monotone == pytest.approx(metrics.monotone_p_value(values, replicates, False), abs=0.03)


def test_the_best_of_tied_points_is_the_same_one_on_every_resample():
    tied = along(levels=(0.5, 0.6, 0.6, 0.5))
    tied[1.5] = tied[1.25]
    (best,) = optima(tied, [ACC], 0.95)
    assert (best.low, best.at, best.high) == (1.25, 1.25, 1.25)
