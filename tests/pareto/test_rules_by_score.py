"""The rules that look at proper scores and their standard errors, and points that are dominated beyond chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mergekit_calib.pareto import Candidates, Choice, PairedScore, dominates, non_dominated, rule_problems, select

UP_DOWN = ("maximize", "minimize")


def alike(values, error):
    """A score, less of which is better, with the same standard error for every pair of points."""
    return PairedScore("minimize", np.array(values), np.full((len(values), len(values)), float(error)))


# b has the least Brier score, c is within one standard error of it, d is not; d has the least NLL.
SWEEP = Candidates(
    ids=("a", "b", "c", "d"),
    objectives=("acc", "ece"),
    directions=UP_DOWN,
    values=np.array([[0.60, 0.02], [0.70, 0.06], [0.692, 0.04], [0.66, 0.03]]),
    standard_errors=np.full((4, 4, 2), 0.01),
    scores={
        "brier": alike([0.50, 0.400, 0.404, 0.42], 0.005),
        "nll": alike([0.90, 0.80, 0.78, 0.75], 0.01),
        "ece": alike([0.02, 0.06, 0.04, 0.03], 0.01),
    },
    proper=("brier", "nll"),
)


def test_one_se_takes_the_best_of_the_second_metric_within_one_standard_error_of_the_best_score():
    choice = select("one_se", SWEEP, {"score": "brier", "then": "nll"})
    assert choice.id == "c"
    assert choice.reason == (
        "c (acc 0.692, ece 0.04) has the best nll (0.78) of the 2 points within one standard error of the best brier "
        "(0.4)"
    )


@pytest.mark.parametrize(("error", "chosen"), [(0.001, "b"), (0.005, "c"), (0.03, "d"), (1.0, "d")])
def test_the_larger_the_standard_error_the_more_points_are_in_the_set(error, chosen):
    scores = {**SWEEP.scores, "brier": alike(SWEEP.scores["brier"].values, error)}
    assert select("one_se", replace(SWEEP, scores=scores), {"score": "brier", "then": "nll"}).id == chosen


def test_one_se_alone_in_its_set_says_so():
    scores = {**SWEEP.scores, "brier": alike(SWEEP.scores["brier"].values, 0.001)}
    choice = select("one_se", replace(SWEEP, scores=scores), {"score": "brier", "then": "nll"})
    assert choice.reason.endswith("has the best brier (0.4), and no other point is within one standard error")


def test_a_score_can_be_an_objective_in_its_own_direction():
    assert select("one_se", SWEEP, {"score": "acc", "then": "ece"}).id == "c"
    assert select("least", SWEEP, {"score": "acc"}).id == "b"
    assert select("least", SWEEP, {"score": "nll"}).id == "d"


def test_without_a_proper_score_of_the_objectives_the_first_objective_decides_and_then_the_second():
    votes = replace(SWEEP, objectives=("exact_match", "self_bleu"), scores={}, proper=())
    assert select("one_se", votes, {}).id == "c"
    assert select("least", votes, {}) == select("one_se", votes, {})


def test_least_takes_the_nll_and_the_brier_score_where_every_nll_is_infinite():
    choice = select("least", SWEEP, {})
    assert choice == Choice("d", "d (acc 0.66, ece 0.03) has the best nll of 4 points, 0.75")
    for nll, chosen in (([np.inf, 0.9, 0.8, np.inf], "c"), ([np.inf] * 4, "b")):
        assert select("least", replace(SWEEP, scores={**SWEEP.scores, "nll": alike(nll, 0.01)}), {}).id == chosen


def test_one_objective_alone_decides():
    alone = Candidates(("a", "b", "c"), ("ece",), ("minimize",), np.array([[0.2], [0.1], [0.3]]))
    assert select("one_se", alone, {}).id == select("least", alone, {}).id == "b"


def test_an_undefined_standard_error_leaves_the_best_point_alone_in_its_set():
    scores = {**SWEEP.scores, "brier": alike(SWEEP.scores["brier"].values, np.nan)}
    assert select("one_se", replace(SWEEP, scores=scores), {"score": "brier", "then": "nll"}).id == "b"


def test_the_names_of_scores_are_checked():
    problems = rule_problems("one_se", {"score": "brir"}, ("acc", "ece"), ("brier", "nll", "ece"))
    assert problems == [
        "score: 'brir' is not a score or an objective (did you mean 'brier'?); there are brier, nll, ece, acc"
    ]
    assert rule_problems("one_se", {"score": "brier", "then": "acc"}, ("acc", "ece"), ("brier",)) == []
    assert rule_problems("least", {"score": "brier"}, ("acc", "ece"), ()) != []


def test_a_point_is_dominated_if_another_is_as_good_everywhere_and_better_beyond_chance_somewhere():
    values = np.array([[0.70, 0.05], [0.66, 0.05], [0.68, 0.05], [0.64, 0.04]])
    errors = np.full((4, 4, 2), 0.01)
    # 0.04 is four standard errors; 0.02 is two, which is within chance at 1 %; the last is better in the second.
    assert dominates(values, errors, UP_DOWN).tolist() == [
        [False, True, False, False],
        [False, False, False, False],
        [False, False, False, False],
        [False, False, False, False],
    ]


def test_the_level_of_dominance_is_two_sided_one_percent():
    errors = np.full((2, 2, 1), 1.0)
    below, above = ([[0.0], [z]] for z in (2.575, 2.577))
    assert not dominates(below, errors, ["maximize"]).any()
    assert dominates(above, errors, ["maximize"])[1, 0]


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 3)), elements=st.integers(0, 9).map(float)),
    st.floats(0.0, 3.0),
)
def test_frontier_points_are_never_dominated_so_some_point_always_remains(values, error):
    directions = ["maximize"] * values.shape[1]
    errors = np.full((len(values), *values.shape), error)
    dominated = dominates(values, errors, directions).any(axis=0)
    assert not (dominated & non_dominated(values, directions)).any()
    assert not dominated.all()


def test_a_point_that_is_dominated_beyond_chance_is_never_chosen():
    # `worse` has the least NLL, but `b` is as accurate and better calibrated beyond chance.
    points = replace(
        SWEEP,
        ids=("a", "b", "worse", "d"),
        values=np.array([[0.60, 0.02], [0.70, 0.03], [0.70, 0.09], [0.66, 0.025]]),
        scores={**SWEEP.scores, "nll": alike([0.9, 0.8, 0.1, 0.75], 0.01)},
    )
    assert select("least", points, {"score": "nll"}).id == "d"
    assert select("least", replace(points, standard_errors=None), {"score": "nll"}).id == "worse"


def test_a_dominated_parent_is_still_what_superiority_is_measured_against():
    values = np.array([[0.50, 0.20], [0.60, 0.10], [0.70, 0.05], [0.72, 0.04]])
    points = Candidates(
        ("base", "aligned", "x", "y"),
        ("acc", "ece"),
        UP_DOWN,
        values,
        ("base", "aligned"),
        standard_errors=np.full((4, 4, 2), 0.004),
    )
    choice = select("pareto_superior", points, {})
    assert (choice.id, choice.gave_way) == ("y", None)
    assert "base (acc 0.5, ece 0.2) and aligned (acc 0.6, ece 0.1)" in choice.reason
