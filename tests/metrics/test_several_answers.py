"""`pass@k` is the share of subsets of k draws that hold a correct answer, which lm-eval 0.5 computes too."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mergekit_calib.metrics import pass_at_k
from mergekit_calib.metrics.several_answers import powers_of_two


@pytest.mark.parametrize("n", [1, 4, 7])
def test_it_is_the_share_of_all_subsets_of_k_draws_that_hold_a_correct_one(n):
    for n_correct, k in itertools.product(range(n + 1), range(1, n + 1)):
        draws = [True] * n_correct + [False] * (n - n_correct)
        hits = [any(subset) for subset in itertools.combinations(draws, k)]
        assert pass_at_k(n_correct, n, k) == pytest.approx(np.mean(hits), abs=1e-12)


def test_by_hand():
    assert pass_at_k(2, 8, 1) == pytest.approx(2 / 8)
    assert pass_at_k(2, 8, 2) == pytest.approx(1 - 6 / 8 * 5 / 7)
    assert pass_at_k(1, 8, 8) == 1.0
    assert pass_at_k(0, 8, 8) == 0.0


def test_it_is_that_of_lm_eval_if_this_lm_eval_has_one():
    reduce = pytest.importorskip("lm_eval.api.metrics.reduce", reason="lm-eval before 0.5 has no pass@k")
    for n in (1, 5, 8, 64):
        for n_correct in range(n + 1):
            ks = list(range(1, n + 1))
            theirs = reduce.pass_at_k(None, [1] * n_correct + [0] * (n - n_correct), k=ks)
            assert {f"pass@{k}": pass_at_k(n_correct, n, k) for k in ks} == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize(("n_correct", "n", "k"), [(0, 4, 0), (0, 4, 5), (5, 4, 1), (-1, 4, 1)])
def test_numbers_out_of_range_are_refused(n_correct, n, k):
    with pytest.raises(ValueError, match="draws"):
        pass_at_k(n_correct, n, k)


def test_powers_of_two_within_bounds():
    assert powers_of_two(1, 8) == [1, 2, 4, 8]
    assert powers_of_two(4, 7) == [4]
    assert powers_of_two(4, 3) == []
