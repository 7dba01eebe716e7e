"""The Kullback-Leibler divergence over choices: against scipy's, and where probabilities are 0 or nearly so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from mergekit_calib.metrics import choice_probabilities, kl_divergence, kl_divergence_statistic

nan, inf = np.nan, np.inf


def two_models(n_items=200, n_choices=4, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 3, (2, n_items, n_choices))
    scores[:, : n_items // 2, -1] = nan
    return scores


def test_it_is_the_mean_of_scipys_relative_entropy():
    reference, scores = two_models()
    p, q = (np.nan_to_num(choice_probabilities(each)) for each in (reference, scores))
    assert kl_divergence(reference, scores) == pytest.approx(entropy(p, q, axis=1).mean(), rel=1e-12)


@given(st.integers(0, 1000), st.floats(-500, 500))
def test_it_is_0_for_equal_distributions_and_never_below(seed, shift):
    reference, scores = two_models(20, 3, seed)
    assert kl_divergence(reference, reference + shift) == pytest.approx(0.0, abs=1e-12)
    assert (kl_divergence_statistic(reference, scores).contributions >= 0.0).all()


def test_a_choice_that_the_reference_rules_out_adds_nothing():
    assert kl_divergence([[0.0, 0.0, -inf]], [[0.0, 0.0, 0.0]]) == pytest.approx(np.log(1.5))


def test_a_choice_that_only_the_model_rules_out_makes_it_infinite():
    assert kl_divergence([[0.0, 0.0]], [[0.0, -inf]]) == inf


def test_probabilities_below_the_smallest_float_do_not_make_it_infinite():
    assert kl_divergence([[0.0, -1.0]], [[0.0, -2000.0]]) == pytest.approx(2000.0 / (1 + np.e), rel=1e-2)


def test_items_with_other_choices_are_an_error():
    with pytest.raises(ValueError, match="not of the same items"):
        kl_divergence([[0.0, 1.0, nan]], [[0.0, 1.0, 2.0]])
