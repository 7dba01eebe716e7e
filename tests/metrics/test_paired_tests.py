"""Tests of paired differences: exact for signs, independent of a seed, and steady for the bootstrap."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mergekit_calib.metrics import bootstrap_p_value, resample_weights, sign_flip_p_value


def enumerated(differences) -> float:
    """Return the share of all choices of signs whose sum is at least the observed one."""
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=len(differences))))
    return float(np.mean(signs @ np.abs(differences) >= np.sum(differences) - 1e-9))


def sampled(differences, n_choices: int) -> float:
    """Return the share of choices of signs, drawn at random, whose sum is at least the observed one."""
    bits = np.random.default_rng(0).integers(0, 2, (n_choices, len(differences)), dtype=np.int8)
    sums = (2.0 * bits - 1.0) @ np.abs(differences)
    return float(np.mean(sums >= np.sum(differences) - 1e-9))


KINDS = {
    "normal": lambda rng, n: rng.normal(0.3, 1.0, n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(n) + 0.3,
    "each half of the one before": lambda rng, n: 2.0 ** -np.arange(n) * rng.choice([1.0, 1.0, -1.0], n),
    "quarters": lambda rng, n: rng.integers(-3, 5, n) / 4.0,
    "accuracy": lambda rng, n: rng.choice([-1.0, 0.0, 1.0, 1.0], n),
    "accuracies of three tasks": lambda rng, n: rng.choice([-1.0, 0.0, 1.0], n) * rng.choice([1.0, 0.7313, 0.1427], n),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_p_of_few_differences_is_that_of_all_choices_of_signs(kind, n):
    for seed in range(5):
        differences = KINDS[kind](np.random.default_rng(seed), n)
        assert sign_flip_p_value(differences) == pytest.approx(enumerated(differences), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [24, 25, 40, 400])
def test_p_of_many_differences_is_that_of_signs_drawn_at_random(kind, n):
    differences = KINDS[kind](np.random.default_rng(n), n)
    n_choices = 8_000_000 // n
    drawn = sampled(differences, n_choices)
    error = np.sqrt(drawn * (1 - drawn) / n_choices)
    assert sign_flip_p_value(differences) == pytest.approx(drawn, abs=4 * error + 3e-4)


@given(st.integers(0, 60), st.integers(0, 60))
def test_p_of_accuracy_is_mcnemars_exact_one(in_favour, against):
    differences = np.concatenate([np.full(in_favour, 0.01), np.full(against, -0.01), np.zeros(7)])
    n = in_favour + against
    oracle = stats.binomtest(in_favour, n, 0.5, "greater").pvalue if n else 1.0
    assert sign_flip_p_value(differences) == pytest.approx(oracle, rel=1e-9)


def test_four_discordant_items_all_in_favour_have_a_p_of_one_in_sixteen():
    assert sign_flip_p_value([1.0, 0.0, 1.0, 1.0, 0.0, 1.0]) == pytest.approx(1 / 16)


def test_large_sums_and_tails_are_as_exact_as_small_ones():
    big = np.concatenate([np.full(7030, 1.0), np.full(6800, -1.0)])
    oracle = stats.binomtest(7030, 13_830, 0.5, "greater").pvalue
    assert sign_flip_p_value(big) == pytest.approx(oracle, rel=1e-6)
    assert sign_flip_p_value(1e200 * big) == pytest.approx(oracle, rel=1e-6)
    # All of one sign: 2^-n, or as close to it as a number can be.
    assert sign_flip_p_value(np.linspace(1.0, 2.0, 24)) == pytest.approx(2.0**-24, rel=1e-6)
    assert sign_flip_p_value(np.linspace(1.0, 2.0, 40)) == pytest.approx(2.0**-40, abs=1e-9)
    assert 0.0 < sign_flip_p_value(np.linspace(1.0, 2.0, 3000)) < 1e-300


def test_multiples_of_one_number_count_their_ties():
    # 2,000 differences of eight magnitudes: too many sums to list. Half of a tie would be 0.003 here.
    rng = np.random.default_rng(3)
    differences = rng.integers(-8, 9, 2000) / 8.0
    steps, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    distribution = np.ones(1)
    for step, count in zip((8 * steps).astype(int), counts, strict=True):
        spaced = np.zeros(step * count + 1)
        spaced[::step] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        distribution = np.convolve(distribution, spaced)
    total = int((8 * np.abs(differences)).sum())
    least = round(8 * differences.sum() + total) // 2
    assert sign_flip_p_value(differences) == pytest.approx(distribution[least:].sum(), rel=1e-4)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=40))
def test_the_two_sides_hold_all_choices_of_signs(differences):
    p, other = sign_flip_p_value(differences), sign_flip_p_value(np.negative(differences))
    assert 0.0 < p <= 1.0
    assert p + other >= 1.0 - 1e-3
    assert sign_flip_p_value([*differences, 0.0, 0.0]) == p


@pytest.mark.parametrize("differences", [[], [0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0], [-np.inf, np.inf]])
def test_no_difference_and_an_undefined_one_have_a_p_of_1(differences):
    assert sign_flip_p_value(differences) == 1.0


def test_p_of_the_bootstrap_is_that_of_students_t():
    replicates = np.array([1.0, 3.0, 5.0, 7.0])
    spread = np.std(replicates, ddof=1)
    assert bootstrap_p_value(replicates, 4.0) == pytest.approx(stats.t.sf(4.0 / spread, 3))
    assert bootstrap_p_value(replicates, 4.0) == bootstrap_p_value(replicates + 9.0, 4.0)
    assert bootstrap_p_value(-replicates, -4.0) == pytest.approx(1.0 - bootstrap_p_value(replicates, 4.0))


def test_p_of_the_bootstrap_varies_less_with_the_seed_than_the_share_of_replicates():
    differences = np.random.default_rng(1).normal(0.08, 1.0, 400)
    observed, smooth, counted = differences.mean(), [], []
    for seed in range(40):
        drawn = resample_weights(400, 500, seed) @ differences / 400
        smooth.append(bootstrap_p_value(drawn, observed))
        counted.append(np.mean(drawn - drawn.mean() >= observed))
    assert np.mean(smooth) == pytest.approx(np.mean(counted), abs=0.005)
    assert np.std(smooth) < 0.75 * np.std(counted)


def test_a_difference_that_is_only_rounding_error_is_no_gain():
    assert bootstrap_p_value(np.full(99, 1e-16), 1e-16) == 1.0
    assert bootstrap_p_value(np.zeros(99), 0.0) == 1.0


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_difference_that_is_not_a_number_on_some_resample_counts_against_the_gain(broken):
    replicates = np.random.default_rng(0).normal(5.0, 1.0, 99)
    assert bootstrap_p_value(replicates, 5.0) < 0.001
    assert bootstrap_p_value(replicates, broken) == 1.0
    replicates[0] = broken
    assert bootstrap_p_value(replicates, 5.0) == 1.0
