"""The superiority test keeps its level, and has the power stated, in simulated sweeps."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.paired_tests import Model, answers, binned_errors
from mergekit_calib import metrics
from mergekit_calib.pareto import superiority


def sweep(base: Model, aligned: Model, points: list[Model], n_items: int, rng: np.random.Generator, n_resamples=300):
    """Return the p-values (n_points, 2, 2) of gains in accuracy and ECE of one sweep."""
    confidence, correct = answers([base, aligned, *points], n_items, rng)
    errors = binned_errors(confidence, correct, np.ones((1, n_items)))[0]
    drawn = binned_errors(confidence, correct, rng.multinomial(n_items, np.full(n_items, 1 / n_items), n_resamples))
    p = np.empty((len(points), 2, 2))
    for i in range(len(points)):
        for j in range(2):
            p[i, j, 0] = metrics.sign_flip_p_value(correct[2 + i] - correct[j])
            p[i, j, 1] = metrics.bootstrap_p_value(drawn[:, j] - drawn[:, 2 + i], errors[j] - errors[2 + i])
    return p


def share_of_sweeps(n_sweeps: int, *models, n_items: int, seed: int):
    """Return the share of simulated sweeps in which any point is shown superior."""
    rng = np.random.default_rng(seed)
    return np.mean([any(t.shown for t in superiority(sweep(*models, n_items, rng))) for _ in range(n_sweeps)])


# Two binomial standard errors above 5 % of 300 sweeps.
MOST = 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


@pytest.mark.parametrize(
    ("base", "aligned", "point"),
    [
        pytest.param(Model(gap=0.05), Model(gap=0.05), Model(gap=0.05), id="alike"),
        pytest.param(Model(gap=0.02), Model(gap=0.10), Model(mean=1.8, gap=0.02), id="better except in base's ECE"),
        pytest.param(Model(), Model(gap=0.10), Model(mean=1.5), id="better except in a calibrated base's ECE"),
        # Less overconfident at the aligned model's accuracy.
        pytest.param(Model(mean=0.2, gap=0.10), Model(gap=0.15), Model(mean=-0.1657), id="better except in accuracy"),
    ],
)
@pytest.mark.parametrize("n_points", [1, 5])
def test_sweeps_without_a_superior_point_claim_one_no_more_often_than_the_level(base, aligned, point, n_points):
    claims = share_of_sweeps(300, base, aligned, [point] * n_points, n_items=300, seed=7)
    assert claims <= MOST


@pytest.mark.parametrize("parent", ["base", "aligned"])
def test_many_points_equal_to_the_better_parent_are_claimed_superior_no_more_often_than_the_level(parent):
    good, bad = Model(mean=1.3, gap=0.02), Model(gap=0.10)
    pair = (good, bad) if parent == "base" else (bad, good)
    claims = share_of_sweeps(100, *pair, [good] * 15, n_items=300, seed=11)
    assert claims <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 100)


@pytest.mark.parametrize(("n_items", "least", "most"), [(400, 0.0, 0.5), (4000, 0.95, 1.0)])
def test_the_power_to_find_one_point_of_five_grows_with_the_items(n_items, least, most):
    # Accuracy .77 against .69 and .65, ECE .02 against .06 and .10.
    models = (Model(gap=0.06), Model(gap=0.10), [Model(mean=1.3, gap=0.02), *[Model(gap=0.08)] * 4])
    assert least <= share_of_sweeps(40, *models, n_items=n_items, seed=5) <= most
