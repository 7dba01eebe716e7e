"""Thresholds of confidence for a target error, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from mergekit_calib.metrics.answering import answered_from, plain_threshold, printed_decimals, safe_threshold


def test_coverage_and_error_count_every_answer_from_the_threshold_up():
    confidences, correct = [0.9, 0.8, 0.8, 0.5], [True, True, False, False]
    found = answered_from(confidences, correct, 0.8)
    assert (found.n_items, found.n_answered, found.n_wrong) == (4, 3, 1)
    assert found.coverage == 0.75
    assert found.error == pytest.approx(1 / 3)
    assert math.isnan(answered_from(confidences, correct, 0.95).error)


def test_the_plain_threshold_answers_as_many_as_the_target_allows():
    # From the top: 0/1, 0/2, 1/3, 1/4, 1/5, 2/6 wrong.
    confidences, correct = [0.95, 0.9, 0.8, 0.7, 0.6, 0.5], [True, True, False, True, True, False]
    assert plain_threshold(confidences, correct, 0.2).threshold == 0.6  # exactly 1/5
    assert plain_threshold(confidences, correct, 0.19).threshold == 0.9
    assert plain_threshold(confidences, correct, 0.34).n_answered == 6
    assert plain_threshold(confidences, correct, 0.34).threshold == 0.0  # everything is answered


def test_equal_confidences_are_answered_together():
    # Half of the two answers of confidence 0.8 are wrong: neither can be given alone.
    found = plain_threshold([0.9, 0.8, 0.8], [True, True, False], 0.2)
    assert (found.threshold, found.n_answered) == (0.9, 1)


def test_there_is_no_threshold_if_the_most_confident_answers_are_wrong():
    assert plain_threshold([0.9, 0.8, 0.7], [False, False, True], 0.3) is None
    assert safe_threshold([0.9, 0.8, 0.7], [False, False, True], 0.3) is None


@pytest.mark.parametrize(("n_correct", "threshold"), [(58, None), (59, 0.0)])
def test_59_correct_answers_are_the_fewest_that_show_an_error_of_5_percent(n_correct, threshold):
    # 0.95 ** 59 = 0.0485, 0.95 ** 58 = 0.0510.
    found = safe_threshold([0.5] * n_correct, [True] * n_correct, 0.05, level=0.95)
    assert (found and found.threshold) == threshold


def test_the_safe_threshold_is_the_last_that_passes_before_the_first_that_fails():
    # 200 answers: the 100 most confident have no error, the others 20.
    confidences = np.linspace(0.999, 0.5, 200)
    correct = np.ones(200, dtype=bool)
    correct[100::5] = False
    found = safe_threshold(confidences, correct, 0.05, level=0.95)
    order = np.arange(10, 201, 10)
    bounds = {
        k: binomtest(int((~correct[:k]).sum()), k).proportion_ci(0.90, method="exact").high for k in order.tolist()
    }
    first_failing = next(k for k in order.tolist() if k >= 59 and bounds[k] > 0.05)
    assert first_failing > 100
    # Printed thresholds are rounded down, but no other confidence is that near.
    assert found.n_answered == first_failing - 10
    assert found.n_wrong == (~correct[: found.n_answered]).sum()


def test_a_later_candidate_is_not_chosen_past_one_that_fails():
    # 1,000 answers; the first 100 have 30 errors, all others none: at 1,000 the error is 3 %.
    confidences = np.linspace(0.99, 0.3, 1000)
    correct = np.ones(1000, dtype=bool)
    correct[:30] = False
    assert plain_threshold(confidences, correct, 0.05).n_answered == 1000
    assert safe_threshold(confidences, correct, 0.05) is None


def test_a_safe_threshold_is_rarely_too_low():
    rng = np.random.default_rng(0)
    too_low = found = 0
    for _ in range(100):
        confidences = 1 - 0.75 * rng.beta(1, 1.6, 2500)
        chosen = safe_threshold(confidences, rng.random(2500) < confidences, 0.1, level=0.9)
        if chosen is not None:
            found += 1
            new = 1 - 0.75 * rng.beta(1, 1.6, 50_000)
            too_low += (1 - new[new >= chosen.threshold]).mean() > 0.1
    assert found > 80
    assert too_low <= 16  # 10 are expected at most; 17 or more of 100 have a probability of 2 %


def test_a_threshold_is_the_number_that_is_printed_of_it():
    found = plain_threshold([0.71342, 0.6, 0.99987, 0.9], [True, False, True, True], 0.01)
    assert (found.threshold, found.n_answered) == (0.713, 3)
    assert printed_decimals(0.99987) == 5
    assert printed_decimals(0.5) == 3
    top = plain_threshold([0.99987, 0.9], [True, False], 0.01)
    assert f"{top.threshold:.{printed_decimals(top.threshold)}f}" == "0.99987"


def test_rounding_never_loses_the_answer_that_a_threshold_was_made_from():
    for confidence in (0.9 - 1e-12, 0.29, 0.57, 1 / 3, 1 - 1e-7, 1.0, np.nextafter(1.0, 0.0)):
        found = plain_threshold([confidence, 0.1], [True, False], 0.01)
        assert found.n_answered == 1
        assert 0 <= confidence - found.threshold < 1e-3


@pytest.mark.parametrize("max_error", [0.0, 1.0, math.nan])
def test_a_target_outside_its_range_is_refused(max_error):
    with pytest.raises(ValueError, match="max_error"):
        plain_threshold([0.9], [True], max_error)
