"""Each rule chooses by its definition, gives a reason with numbers, and is not affected by dominated points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mergekit_calib.pareto import (
    DEFAULT_RULE,
    SELECTION_RULES,
    Candidates,
    Choice,
    SelectionRule,
    non_dominated,
    rule_problems,
    select,
)

ACC_ECE = ("acc", "ece")
UP_DOWN = ("maximize", "minimize")

# A sweep with the shape that the paper describes; lambda=1.5 is dominated.
SWEEP = Candidates(
    ids=("base", "lambda=0.25", "lambda=0.5", "lambda=0.75", "aligned", "lambda=1.5"),
    objectives=ACC_ECE,
    directions=UP_DOWN,
    values=np.array([[0.60, 0.04], [0.68, 0.03], [0.73, 0.04], [0.74, 0.08], [0.72, 0.12], [0.69, 0.20]]),
    parents=("base", "aligned"),
)

RULES = {
    "knee": {},
    "max": {"objective": "o0", "bounds": {"o1": {"max": 0.5}}},
    "pareto_superior": {},
    "weighted": {"weights": {"o0": 2.0, "o1": 0.5}},
    "nearest": {"ideal": {"o0": 0.75}},
    "one_se": {},
    "least": {"score": "o1"},
}


@st.composite
def sweeps(draw, n_objectives=None, min_points=2):
    """Candidates with two parents; the first objective is maximised, the second minimised."""
    k = n_objectives or draw(st.integers(2, 4))
    n = draw(st.integers(min_points, 10))
    values = draw(hnp.arrays(np.float64, (n, k), elements=st.integers(0, 20).map(lambda i: i / 20)))
    others = draw(st.lists(st.sampled_from(UP_DOWN), min_size=k - 2, max_size=k - 2))
    return Candidates(
        ids=tuple(f"p{i}" for i in range(n)),
        objectives=tuple(f"o{i}" for i in range(k)),
        directions=("maximize", "minimize", *others),
        values=values,
        parents=("p0", "p1"),
    )


def values_of(choice: Choice, candidates: Candidates) -> list[float]:
    return candidates.values[candidates.ids.index(choice.id)].tolist()


def with_points(candidates: Candidates, ids, values) -> Candidates:
    return Candidates(tuple(ids), candidates.objectives, candidates.directions, np.array(values), candidates.parents)


@pytest.mark.parametrize("rule", RULES)
@given(candidates=sweeps())
def test_every_rule_chooses_a_frontier_point(rule, candidates):
    options = {"objective": "o0"} if rule == "max" else RULES[rule]
    chosen = candidates.ids.index(select(rule, candidates, options).id)
    assert non_dominated(candidates.values, candidates.directions)[chosen]


@pytest.mark.parametrize("rule", RULES)
@given(candidates=sweeps(), shortfall=st.lists(st.integers(0, 30), min_size=4, max_size=4), pick=st.integers(0, 9))
def test_adding_a_dominated_point_changes_no_choice(rule, candidates, shortfall, pick):
    assume(any(shortfall[: len(candidates.objectives)]))
    signs = np.where(np.array(candidates.directions) == "maximize", 1, -1)
    worse = candidates.values[pick % len(candidates.ids)] - signs * np.array(shortfall[: len(signs)]) / 20
    more = with_points(candidates, (*candidates.ids, "worse"), [*candidates.values, worse])
    assert select(rule, more, RULES[rule]).id == select(rule, candidates, RULES[rule]).id


@pytest.mark.parametrize("rule", RULES)
@given(candidates=sweeps(), random=st.randoms(use_true_random=False))
def test_the_choice_does_not_depend_on_the_order_of_points(rule, candidates, random):
    order = list(range(len(candidates.ids)))
    random.shuffle(order)
    shuffled = with_points(candidates, [candidates.ids[i] for i in order], candidates.values[order])
    choices = [values_of(select(rule, c, RULES[rule]), c) for c in (candidates, shuffled)]
    assert choices[0] == choices[1]


@pytest.mark.parametrize("rule", ["knee", "pareto_superior", "weighted"])
@given(candidates=sweeps(), powers=st.lists(st.integers(-3, 3), min_size=4, max_size=4))
def test_the_choice_does_not_depend_on_the_units_of_an_objective(rule, candidates, powers):
    units = 2.0 ** np.array(powers[: len(candidates.objectives)])
    scaled = with_points(candidates, candidates.ids, candidates.values * units)
    assert select(rule, scaled, RULES[rule]).id == select(rule, candidates, RULES[rule]).id


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_points_with_values_that_are_not_finite_are_ignored(rule, missing):
    options = {"objective": "acc"} if rule == "max" else {}
    broken = np.array([[missing, 0.0], [1.0, missing]])
    more = with_points(SWEEP, (*SWEEP.ids, "failed", "failed too"), [*SWEEP.values, *broken])
    assert select(rule, more, options) == select(rule, SWEEP, options)


@given(sweeps(n_objectives=2))
def test_the_knee_is_the_point_furthest_from_the_chord_of_the_frontier(candidates):
    on = np.flatnonzero(non_dominated(candidates.values, candidates.directions))
    points = candidates.values[on]
    spans = np.ptp(points, axis=0)
    assume((spans > 0).all())
    x, y = ((points - points.min(axis=0)) / spans).T
    ends = [np.array([x[i], y[i]]) for i in (x.argmin(), x.argmax())]
    along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    # Signed, positive towards high accuracy and low ECE.
    distance = (x - ends[0][0]) * along[1] - (y - ends[0][1]) * along[0]
    chosen = list(on).index(candidates.ids.index(select("knee", candidates, {}).id))
    assert distance[chosen] == pytest.approx(distance.max())


def test_the_reason_for_a_knee_names_its_distance_and_the_ends_of_the_frontier():
    choice = select("knee", SWEEP, {})
    assert choice == Choice(
        "lambda=0.5",
        "λ = 0.5 (acc 0.73, ece 0.04) is the knee: of 3 frontier points it lies furthest beyond the line between "
        "the frontier's ends, λ = 0.75 (acc 0.74, ece 0.08) and λ = 0.25 (acc 0.68, ece 0.03), by 0.45 with each "
        "objective's range as 1",
    )


def test_without_a_point_beyond_the_line_the_best_on_the_first_objective_is_chosen():
    points = Candidates(("a", "b", "c"), ACC_ECE, UP_DOWN, np.array([[0.5, 0.0], [0.55, 0.08], [0.7, 0.1]]))
    choice = select("knee", points, {})
    assert choice.id == "c"
    assert "none of 3 frontier points lies beyond" in choice.reason
    assert "best acc" in choice.reason


def test_a_single_frontier_point_is_the_knee():
    alone = Candidates(("a", "b"), ACC_ECE, UP_DOWN, np.array([[0.7, 0.02], [0.6, 0.1]]))
    assert select("knee", alone, {}).reason == "a (acc 0.7, ece 0.02) is the only point on the frontier"


def test_the_knee_of_three_objectives_has_the_least_sum_of_regrets():
    values = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.9, 0.9, 0.6], [0.5, 0.5, 1.0]])
    points = Candidates(("a", "b", "c", "d"), ("x", "y", "z"), ("maximize",) * 3, values)
    choice = select("knee", points, {})
    assert choice.id == "c"
    assert "has the smallest sum of regrets of 4 frontier points, 1.00" in choice.reason


def test_the_knee_of_one_objective_is_its_best():
    points = Candidates(("a", "b", "c"), ("ece",), ("minimize",), np.array([[0.2], [0.1], [0.3]]))
    assert select("knee", points, {}).id == "b"


def test_max_takes_the_best_within_bounds_and_names_them():
    options = {"objective": "acc", "bounds": {"ece": {"max": 0.05}}}
    choice = select("max", SWEEP, options)
    assert choice.id == "lambda=0.5"
    assert choice.reason == "λ = 0.5 (acc 0.73, ece 0.04) has the best acc of 3 of 6 points with ece at most 0.05"
    assert select("max", SWEEP, {"objective": "acc"}).id == "lambda=0.75"


def test_max_of_a_minimised_objective_takes_its_least():
    assert select("max", SWEEP, {"objective": "ece", "bounds": {"acc": {"min": 0.7}}}).id == "lambda=0.5"


def test_a_value_equal_to_its_bound_is_within_it():
    assert select("max", SWEEP, {"objective": "acc", "bounds": {"ece": {"min": 0.08, "max": 0.08}}}).id == "lambda=0.75"


@pytest.mark.parametrize(
    ("rule", "options", "why"),
    [
        (
            "max",
            {"objective": "acc", "bounds": {"ece": {"max": 0.01}, "acc": {"min": 0.5}}},
            "none of 6 points has ece at most 0.01 and acc at least 0.5 (the nearest ece is 0.03)",
        ),
        (
            "max",
            {"objective": "acc", "bounds": {"ece": {"max": 0.03}, "acc": {"min": 0.7}}},
            "none of 6 points has ece at most 0.03 and acc at least 0.7",
        ),
        (
            "pareto_superior",
            {},
            "no point is at least as good as base (acc 0.6, ece 0.01) and aligned (acc 0.72, ece 0.12) on every "
            "objective and better on one",
        ),
    ],
)
def test_a_rule_that_can_choose_no_point_gives_way_to_the_default_rule_and_says_why(rule, options, why):
    values = SWEEP.values.copy()
    if rule == "pareto_superior":
        values[0, 1] = 0.01
    points = with_points(SWEEP, SWEEP.ids, values)
    choice = select(rule, points, options)
    assert choice.gave_way == why
    assert choice == replace(select(DEFAULT_RULE, points, {}), gave_way=why)


def test_a_rule_that_chooses_does_not_give_way():
    assert select("max", SWEEP, {"objective": "acc", "bounds": {"ece": {"max": 0.05}}}).gave_way is None


def test_pareto_superior_takes_the_point_with_the_largest_minimum_gain():
    # Both of lambda=0.25 and 0.5 dominate an aligned parent of .66 and .10 and a base of .60 and .04.
    values = SWEEP.values.copy()
    values[4] = [0.66, 0.10]
    values[2, 1] = 0.035
    choice = select("pareto_superior", with_points(SWEEP, SWEEP.ids, values), {})
    assert choice.id == "lambda=0.25"
    assert choice.reason == (
        "λ = 0.25 (acc 0.68, ece 0.03) is one of 2 points at least as good as base (acc 0.6, ece 0.04) and aligned "
        "(acc 0.66, ece 0.1) on every objective and better on one, with the largest minimum gain"
    )


def test_a_dominated_point_does_not_change_the_ranges_that_gains_are_divided_by():
    values = [[0.60, 0.100], [0.60, 0.100], [0.64, 0.080], [0.70, 0.095]]
    points = Candidates(("base", "aligned", "a", "b"), ACC_ECE, UP_DOWN, np.array(values), ("base", "aligned"))
    more = with_points(points, (*points.ids, "dominated"), [*values, [0.0, 0.1]])
    # Of ranges .1 and .02, a gains .4 and 1, b gains 1 and .25; if accuracy's range were .7, a would gain only .06.
    assert [select("pareto_superior", p, {}).id for p in (points, more)] == ["a", "a"]


def test_a_point_that_ties_with_a_parent_on_one_objective_can_be_superior():
    choice = select("pareto_superior", SWEEP, {})
    assert choice.id == "lambda=0.5"
    assert "the one point at least as good as base (acc 0.6, ece 0.04)" in choice.reason


def test_a_copy_of_both_parents_is_not_superior_to_them():
    same = Candidates(("base", "x", "aligned"), ACC_ECE, UP_DOWN, np.tile([0.7, 0.1], (3, 1)), ("base", "aligned"))
    assert select("pareto_superior", same, {}).gave_way.startswith("no point is at least as good as")


def test_without_parents_no_point_is_superior():
    points = Candidates(SWEEP.ids, ACC_ECE, UP_DOWN, SWEEP.values)
    assert select("pareto_superior", points, {}).gave_way == "no parent is among the points"


@given(sweeps())
def test_pareto_superior_takes_a_point_that_dominates_both_parents_if_there_is_one(candidates):
    sign = np.where(np.array(candidates.directions) == "maximize", 1.0, -1.0)
    gains = candidates.values * sign
    superior = [
        name
        for name, g in zip(candidates.ids, gains, strict=True)
        if all((g >= gains[p]).all() and (g > gains[p]).any() for p in (0, 1))
    ]
    choice = select("pareto_superior", candidates, {})
    assert choice.id in superior if superior else choice.gave_way


def test_weights_move_the_choice_along_the_frontier():
    chosen = [select("weighted", SWEEP, {"weights": {"acc": w, "ece": 1 - w}}).id for w in (0.0, 0.5, 1.0)]
    assert chosen == ["lambda=0.25", "lambda=0.5", "lambda=0.75"]


def test_equal_maximum_weighted_regrets_are_decided_by_their_sum():
    values = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.6, 0.8], [0.5, 0.5, 1.0]])
    points = Candidates(("a", "b", "c", "d"), ("x", "y", "z"), ("maximize",) * 3, values)
    assert select("weighted", points, {}).id == "d"


def test_weighted_can_choose_a_point_on_a_non_convex_part_of_the_frontier():
    points = Candidates(("a", "b", "c"), ACC_ECE, UP_DOWN, np.array([[0.5, 0.0], [0.59, 0.06], [0.7, 0.1]]))
    choice = select("weighted", points, {})
    assert choice.id == "b"
    assert "0.6 of the range of ece (weights acc 1, ece 1)" in choice.reason


def test_nearest_takes_the_point_nearest_to_the_ideal():
    choice = select("nearest", SWEEP, {"ideal": {"acc": 0.74}})
    assert choice.id == "lambda=0.5"
    assert "nearest of 3 frontier points to acc 0.74, ece 0.03, 0.26 away" in choice.reason


def test_being_better_than_the_ideal_adds_no_distance():
    # Every acc is at least .6, so only the ECE is short of the ideal.
    assert select("nearest", SWEEP, {"ideal": {"acc": 0.6, "ece": 0.0}}).id == "lambda=0.25"
    assert "0 away" in select("nearest", SWEEP, {"ideal": {"acc": 0.6, "ece": 0.04}}).reason


def test_a_parent_can_be_chosen():
    assert select("max", SWEEP, {"objective": "acc", "bounds": {"ece": {"min": 0.1, "max": 0.15}}}).id == "aligned"


def test_points_that_tie_are_decided_by_the_other_objectives():
    tied = Candidates(("a", "b"), ACC_ECE, UP_DOWN, np.array([[0.7, 0.1], [0.7, 0.05]]))
    assert select("max", tied, {"objective": "acc"}).id == "b"


@pytest.mark.parametrize(
    ("rule", "options", "problem"),
    [
        ("knee", {"objective": "acc"}, "'objective' is not an option; there are no options"),
        ("max", {}, "objective is missing"),
        (
            "max",
            {"objective": "acc", "bound": {}},
            "'bound' is not an option (did you mean 'bounds'?); the options are",
        ),
        (
            "max",
            {"objective": "acc_nrm"},
            "objective: 'acc_nrm' is not an objective (did you mean 'acc_norm' or 'acc'?); there are",
        ),
        (
            "max",
            {"objective": "acc", "bounds": {"ec": {"max": 1}}},
            "bounds.ec: 'ec' is not an objective (did you mean",
        ),
        (
            "max",
            {"objective": "acc", "bounds": {"ece": 0.05}},
            "bounds.ece is 0.05: input should be a mapping",
        ),
        ("max", {"objective": "acc", "bounds": {"ece": {"most": 1}}}, "a bound is min, max or both; found 'most'"),
        ("max", {"objective": "acc", "bounds": {"ece": {}}}, "bounds.ece is {}: give min, max or both"),
        ("max", {"objective": "acc", "bounds": {"ece": {"max": float("nan")}}}, "bounds.ece.max: nan is not finite"),
        ("max", {"objective": "acc", "bounds": {"ece": {"max": "5e-2"}}}, "'5e-2' is text in YAML; write 0.05"),
        ("max", {"objective": "acc", "bounds": {"ece": {"max": "x"}}}, "bounds.ece.max: 'x' is not a number"),
        ("max", {"objective": "acc", "bounds": {"ece": {"max": True}}}, "bounds.ece.max: True is not a number"),
        ("max", {"objective": "acc", "bounds": {"ece": {"min": 1, "max": 0}}}, "min 1 is above max 0"),
        ("max", {"objective": "acc", "bounds": [1]}, "bounds is [1]: input should be a mapping"),
        ("weighted", {"weights": {"acc": -1}}, "acc: a weight of -1 is below 0"),
        ("weighted", {"weights": dict.fromkeys(("acc", "ece", "acc_norm"), 0)}, "every weight is 0"),
        ("weighted", {"weights": [1, 2]}, "weights is [1, 2]: input should be a mapping"),
        ("nearest", {"ideal": {"acc": float("inf")}}, "ideal.acc: inf is not finite"),
    ],
)
def test_mistakes_in_options_are_named(rule, options, problem):
    problems = rule_problems(rule, options, ("acc", "ece", "acc_norm"))
    assert any(problem in p for p in problems), problems


def test_good_options_have_no_problems():
    good = [
        ("knee", {}),
        ("max", {"objective": "mmlu/acc", "bounds": {"ece": {"max": 0.05}, "mmlu/acc": {"min": 0}}}),
        ("pareto_superior", {}),
        ("weighted", {"weights": {"ece": 0}}),
        ("weighted", {}),
        ("nearest", {"ideal": {"ece": 0}}),
    ]
    assert [rule_problems(rule, options, ("mmlu/acc", "ece")) for rule, options in good] == [[]] * len(good)


def test_every_problem_is_given_not_just_the_first():
    assert len(rule_problems("max", {"objectiv": "acc", "bounds": {"ece": {"max": "x"}}}, ACC_ECE)) == 3


def test_select_refuses_unknown_names_and_points_without_finite_values():
    with pytest.raises(ValueError, match=r"no selection rule 'kne' \(did you mean 'knee'"):
        select("kne", SWEEP, {})
    with pytest.raises(ValueError, match="'accuracy' is not an objective"):
        select("max", SWEEP, {"objective": "accuracy"})
    with pytest.raises(ValueError, match="none of 6 points has finite values of acc, ece"):
        select("knee", with_points(SWEEP, SWEEP.ids, SWEEP.values * np.nan), {})


def test_inconsistent_candidates_are_refused():
    with pytest.raises(ValueError, match="shape"):
        Candidates(("a", "b"), ACC_ECE, UP_DOWN, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="repeat"):
        Candidates(("a", "a"), ACC_ECE, UP_DOWN, np.zeros((2, 2)))
    with pytest.raises(ValueError, match="parents c are not among"):
        Candidates(("a", "b"), ACC_ECE, UP_DOWN, np.zeros((2, 2)), ("c",))


def test_a_third_partys_rule_is_checked_and_chosen_by_like_the_built_in_ones():
    class Fixed(SelectionRule):
        name = "fixed"
        id: str

        def choose(self, candidates):
            return candidates.choice(candidates.ids.index(self.id), "the recipe names it")

    rules = {**SELECTION_RULES, "fixed": Fixed}
    assert rule_problems("fixed", {}, ACC_ECE, rules=rules) == ["id is missing"]
    assert rule_problems("fixed", {"id": 3}, ACC_ECE, rules=rules) == ["id is 3: input should be a valid string"]
    assert select("fixed", SWEEP, {"id": "base"}, rules) == Choice("base", "the recipe names it")


def test_a_rule_is_registered_by_its_decorator():
    assert {name: rule.name for name, rule in SELECTION_RULES.items()} == {name: name for name in RULES}
