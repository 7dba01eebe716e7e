"""The superiority test is exact on small cases, keeps its level, and has the power stated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, ndtr

from mergekit_calib.pareto import gain_p_values, resamples_needed, superiority

DIRECTIONS = ("maximize", "minimize")  # accuracy, ECE
N_BINS = 15


@dataclass(frozen=True)
class Model:
    """A simulated model: mean and spread of the logits of confidence; `gap` is confidence minus expected accuracy."""

    mean: float = 1.0
    spread: float = 1.5
    gap: float = 0.0


def scores(models: list[Model], n_items: int, rng: np.random.Generator, correlation: float = 0.9):
    """Return confidences and correctness, each (n_models, n_items), which are correlated between models by item."""
    shared, own = np.sqrt(correlation), np.sqrt(1.0 - correlation)
    shape = (len(models), n_items)
    latent = shared * rng.standard_normal(n_items) + own * rng.standard_normal(shape)
    mean, spread, gap = (np.array([[getattr(m, name)] for m in models]) for name in ("mean", "spread", "gap"))
    confidence = 0.25 + 0.75 * expit(mean + spread * latent)
    uniform = ndtr(shared * rng.standard_normal(n_items) + own * rng.standard_normal(shape))
    return confidence, (uniform < confidence - gap).astype(float)


def accuracy_and_ece(confidence, correct, weights):
    """Return (n_resamples, n_models, 2) values, for weights (n_resamples, n_items) that sum to n_items."""
    n_models, n_items = confidence.shape
    gap = np.zeros((n_items, n_models, N_BINS))
    columns = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    gap[np.arange(n_items)[:, None], np.arange(n_models), columns.T] = (confidence - correct).T
    binned = (weights @ gap.reshape(n_items, -1)).reshape(len(weights), n_models, N_BINS)
    return np.stack([weights @ correct.T, np.abs(binned).sum(axis=-1)], axis=-1) / n_items


def resampled(n_items: int, n_resamples: int, rng: np.random.Generator):
    drawn = rng.integers(0, n_items, (n_resamples, n_items)) + n_items * np.arange(n_resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(float)


def sweep(base: Model, aligned: Model, points: list[Model], n_items: int, rng: np.random.Generator, n_resamples=300):
    """Return differences on resamples (n_points, 2, 2, n_resamples) and observed (n_points, 2, 2) of a sweep."""
    confidence, correct = scores([base, aligned, *points], n_items, rng)
    values = accuracy_and_ece(confidence, correct, np.ones((1, n_items)))[0]
    replicates = accuracy_and_ece(confidence, correct, resampled(n_items, n_resamples, rng))
    observed = values[2:, None] - values[None, :2]
    return np.moveaxis(replicates[:, 2:, None] - replicates[:, None, :2], 0, -1), observed


def share_of_sweeps(claim: Callable[[np.ndarray, np.ndarray], bool], n_sweeps: int, *models, n_items: int, seed: int):
    rng = np.random.default_rng(seed)
    return np.mean([claim(*sweep(*models, n_items, rng)) for _ in range(n_sweeps)])


def anything_shown(replicates, observed) -> bool:
    return any(test.shown for test in superiority(replicates, DIRECTIONS, observed=observed))


def percentile_shows_anything(replicates, observed) -> bool:
    gain = replicates * np.array([1.0, -1.0])[:, None]
    p = ((1 + (gain <= 0).sum(axis=-1)) / (1 + gain.shape[-1])).max(axis=(1, 2))
    return bool(p.min() * len(p) <= 0.05)


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
    claims = share_of_sweeps(anything_shown, 300, base, aligned, [point] * n_points, n_items=300, seed=7)
    assert claims <= MOST


def test_a_true_gain_is_found_more_often_than_by_the_percentile_test():
    # At 1,500 items: accuracy .77 against .69 and .65, ECE .02 against .06 and .10, in one point of five.
    models = (Model(gap=0.06), Model(gap=0.10), [Model(mean=1.3, gap=0.02), *[Model(gap=0.08)] * 4])
    rng = np.random.default_rng(3)
    sweeps = [sweep(*models, 1500, rng) for _ in range(100)]
    power = np.mean([anything_shown(*one) for one in sweeps])
    assert power >= 0.65
    assert power > np.mean([percentile_shows_anything(*one) for one in sweeps])


@pytest.mark.parametrize("parent", ["base", "aligned"])
def test_many_points_equal_to_the_better_parent_are_claimed_superior_no_more_often_than_the_level(parent):
    good, bad = Model(mean=1.3, gap=0.02), Model(gap=0.10)
    pair = (good, bad) if parent == "base" else (bad, good)
    claims = share_of_sweeps(anything_shown, 100, *pair, [good] * 15, n_items=300, seed=11)
    assert claims <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 100)


@pytest.mark.parametrize(("n_items", "least", "most"), [(400, 0.0, 0.5), (4000, 0.95, 1.0)])
def test_the_power_to_find_one_point_of_five_grows_with_the_items(n_items, least, most):
    # Accuracy .77 against .69 and .65, ECE .02 against .06 and .10.
    models = (Model(gap=0.06), Model(gap=0.10), [Model(mean=1.3, gap=0.02), *[Model(gap=0.08)] * 4])
    assert least <= share_of_sweeps(anything_shown, 40, *models, n_items=n_items, seed=5) <= most


@pytest.mark.parametrize(("n_points", "level"), [(1, 0.95), (16, 0.95), (50, 0.95), (4, 0.99), (7, 0.9)])
def test_the_largest_gain_is_shown_with_the_resamples_needed_and_not_with_one_fewer(n_points, level):
    def shown(n_resamples):
        replicates = np.ones((n_points, 2, 1, n_resamples))
        tests = superiority(replicates, ["maximize"], level, observed=np.ones((n_points, 2, 1)))
        return [test.shown for test in tests]

    needed = resamples_needed(n_points, level)
    assert all(shown(needed))
    assert not any(shown(needed - 1)[:1])


def test_a_point_identical_to_one_parent_has_a_p_of_1():
    rng = np.random.default_rng(0)
    replicates, observed = rng.normal(0.1, 0.01, (1, 2, 2, 999)), np.full((1, 2, 2), 0.1)
    replicates[..., 1, :] *= -1
    observed[..., 1] *= -1
    (beside,) = superiority(replicates, DIRECTIONS, observed=observed)
    replicates[:, 0], observed[:, 0] = 0.0, 0.0
    (test,) = superiority(replicates, DIRECTIONS, observed=observed)
    assert beside.shown
    assert (test.shown, test.p, test.p_adjusted) == (False, 1.0, 1.0)


def test_a_difference_that_is_only_rounding_error_is_no_gain():
    p = gain_p_values(np.full((1, 1, 1, 99), 1e-16), ["maximize"], np.full((1, 1, 1), 1e-16))
    assert p.item() == 1.0


def test_p_is_the_share_of_centred_replicates_that_reach_the_gain():
    # Centred: −3, −1, 1, 3; one of them reaches 2.
    replicates = np.array([1.0, 3.0, 5.0, 7.0]).reshape(1, 1, 1, 4)
    assert gain_p_values(replicates, ["maximize"], np.full((1, 1, 1), 2.0)).item() == pytest.approx(2 / 5)
    assert gain_p_values(replicates, ["maximize"], np.full((1, 1, 1), 4.0)).item() == pytest.approx(1 / 5)
    assert gain_p_values(-replicates, ["minimize"], np.full((1, 1, 1), -4.0)).item() == pytest.approx(1 / 5)
    assert gain_p_values(replicates, ["minimize"], np.full((1, 1, 1), 4.0)).item() == 1.0


def test_the_p_of_a_point_is_the_largest_of_its_comparisons():
    rng = np.random.default_rng(1)
    observed = rng.normal(0.0, 1.0, (6, 2, 3))
    replicates = observed[..., None] + rng.normal(0.0, 1.0, (6, 2, 3, 199))
    directions = ["maximize", "minimize", "maximize"]
    tests = superiority(replicates, directions, observed=observed)
    single = gain_p_values(replicates, directions, observed)
    assert [t.p for t in tests] == single.max(axis=(1, 2)).tolist()


def test_points_are_corrected_for_their_number_by_holm():
    # p = .01, .03, .04 → 3 × .01, 2 × .03, and .04 raised to the adjusted p before it.
    replicates = np.zeros((3, 1, 1, 99))
    for i, above in enumerate((0, 2, 3)):
        replicates[i, 0, 0, :above] = 50.0
        replicates[i, 0, 0, above : 2 * above] = -50.0
    observed = np.full((3, 1, 1), 10.0)
    tests = superiority(replicates[[2, 0, 1]], ["maximize"], observed=observed, level=0.95)
    assert [t.p for t in tests] == pytest.approx([0.04, 0.01, 0.03])
    assert [t.p_adjusted for t in tests] == pytest.approx([0.06, 0.03, 0.06])
    assert [t.shown for t in tests] == [False, True, False]


@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_adjustment_keeps_the_order_of_points_and_never_lowers_p(n_points, seed):
    rng = np.random.default_rng(seed)
    observed = rng.normal(1.0, 1.0, (n_points, 2, 2))
    tests = superiority(observed[..., None] + rng.normal(size=(n_points, 2, 2, 50)), DIRECTIONS, observed=observed)
    for one in tests:
        assert one.p <= one.p_adjusted <= 1.0
        assert one.shown == (one.p_adjusted <= 0.05 + 1e-12)
        assert all(one.p_adjusted <= other.p_adjusted for other in tests if one.p < other.p)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_difference_that_is_not_a_number_on_some_resample_counts_against_the_gain(broken):
    replicates, observed = np.random.default_rng(0).normal(5.0, 1.0, (1, 1, 1, 99)), np.full((1, 1, 1), 5.0)
    assert gain_p_values(replicates, ["maximize"], observed).item() == pytest.approx(0.01)
    assert gain_p_values(replicates, ["maximize"], np.full((1, 1, 1), broken)).item() == 1.0
    replicates[0, 0, 0, 0] = broken
    assert gain_p_values(replicates, ["maximize"], observed).item() == 1.0


def test_no_points_give_no_tests():
    assert superiority(np.empty((0, 2, 2, 100)), DIRECTIONS, observed=np.empty((0, 2, 2))) == []


def test_mistakes_in_shapes_and_level_are_named():
    with pytest.raises(ValueError, match="at least 1 parent"):
        superiority(np.empty((3, 0, 2, 100)), DIRECTIONS, observed=np.empty((3, 0, 2)))
    with pytest.raises(ValueError, match="observed has shape"):
        superiority(np.zeros((3, 2, 2, 100)), DIRECTIONS, observed=np.zeros((3, 1, 2)))
    with pytest.raises(ValueError, match="level is 95"):
        superiority(np.zeros((3, 2, 2, 100)), DIRECTIONS, level=95, observed=np.zeros((3, 2, 2)))
