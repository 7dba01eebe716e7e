"""What the choice of a point looks at, how certain it is, and which points are dominated beyond chance."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.simulated_models import ACC, BRIER, ECE, Model, analysed, empty, items, without_choices
from mergekit_calib.analysis import SweepAnalysis
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.pareto import DEFAULT_RULE
from mergekit_calib.results.frontier import Objective, PointResult

# The middle knows as much as the parents, and is the best calibrated; the last knows far less and is far too sure.
SWEEP = {
    "base": Model(1.0, 1.0),
    "0.5": Model(1.25, 1.05),
    "aligned": Model(1.25, 2.5),
    "1.5": Model(0.6, 4.0),
}


@pytest.fixture(scope="module")
def frontier():
    return analysed(SWEEP, rule=DEFAULT_RULE, n_items=1600)


def test_the_default_rule_chooses_a_point_that_no_other_dominates_on_either_split(frontier):
    assert frontier.selected.id == "lambda=0.5"
    assert frontier.selected.dominated_by == {"all": [], "selection": [], "held_out": []}
    assert frontier.selection.gave_way is None


def test_a_dominated_point_names_the_points_that_dominate_it_on_each_split(frontier):
    worst = frontier.point("lambda=1.5")
    for split in ("selection", "held_out"):
        assert {"lambda=0.5", "lambda=1"} <= set(worst.dominated_by[split])
        assert not worst.on_frontier[split]


def test_rule_scores_are_those_of_the_selection_split_without_dominated_points(frontier):
    scores = frontier.rule_scores
    assert {"brier", "nll", "ece", "acc"} <= scores.keys()
    assert {name for name, score in scores.items() if score.proper} == {"brier", "nll"}
    assert (scores["acc"].direction, scores["brier"].direction) == ("maximize", "minimize")
    for point in frontier.points:
        assert (point.id in scores["brier"].values) == (not point.dominated_by["selection"])
    for point_id, value in scores["nll"].values.items():
        assert value == pytest.approx(frontier.point(point_id).metrics["suite"]["nll"]["selection"].value)
    brier = scores["brier"]
    assert brier.best == min(brier.values, key=brier.values.__getitem__)
    assert brier.standard_errors[brier.best] == 0.0
    assert all(error > 0 for point_id, error in brier.standard_errors.items() if point_id != brier.best)


def test_a_paired_standard_error_is_that_of_the_items_differences():
    models = {"base": Model(1.0, 1.0), "0.5": Model(1.2, 1.1), "aligned": Model(1.2, 1.3)}
    frontier = analysed(models, rule="least", options={"score": "brier"}, n_items=900, seed=3)
    tables = items(models, 900, 3)
    by_item = {}
    for name, point_id in (("base", "lambda=0"), ("0.5", "lambda=0.5"), ("aligned", "lambda=1")):
        table = tables[name].take(tables[name].rows("selection"))
        by_item[point_id] = ((table.probabilities - table.labels) ** 2).sum(axis=1)
    brier = frontier.rule_scores["brier"]
    for point_id, error in brier.standard_errors.items():
        differences = by_item[point_id] - by_item[brier.best]
        assert error == pytest.approx(np.sqrt((differences**2).sum()) / len(differences))
        assert brier.values[point_id] == pytest.approx(by_item[point_id].mean())


def test_one_objective_is_chosen_by_alone():
    frontier = analysed(SWEEP, objectives=(ECE,), rule=DEFAULT_RULE)
    least = min(frontier.points, key=lambda p: p.estimate(ECE, "selection").value)
    assert frontier.selected.id == least.id
    assert not any(score.proper for score in frontier.rule_scores.values())


def test_objectives_with_a_proper_score_among_them_are_chosen_by_proper_scores():
    frontier = analysed(SWEEP, objectives=(ACC, BRIER), rule=DEFAULT_RULE)
    assert {name for name, score in frontier.rule_scores.items() if score.proper} == {"brier", "nll"}


def test_objectives_of_one_task_are_chosen_by_the_proper_scores_of_that_task():
    of_task = tuple(o.model_copy(update={"task": "a"}) for o in (ACC, ECE))
    frontier = analysed(SWEEP, objectives=of_task, tasks=("a", "b"), rule=DEFAULT_RULE)
    for point_id, value in frontier.rule_scores["nll"].values.items():
        assert value == pytest.approx(frontier.point(point_id).metrics["a"]["nll"]["selection"].value)


def test_objectives_of_two_tasks_are_chosen_in_their_order():
    mixed = (ACC.model_copy(update={"task": "a"}), ECE.model_copy(update={"task": "b"}))
    frontier = analysed(SWEEP, objectives=mixed, tasks=("a", "b"), rule=DEFAULT_RULE)
    assert not any(score.proper for score in frontier.rule_scores.values())
    assert "a/acc" in frontier.selection.reason


def test_macro_averages_are_chosen_by_the_macro_averages_of_proper_scores():
    macro = tuple(o.model_copy(update={"average": "macro"}) for o in (ACC, ECE))
    frontier = analysed(SWEEP, objectives=macro, tasks=("a", "b"), rule=DEFAULT_RULE, n_items={"a": 600, "b": 900})
    assert {name for name, score in frontier.rule_scores.items() if score.proper} == {"brier", "nll"}
    for point_id, value in frontier.rule_scores["nll"].values.items():
        assert value == pytest.approx(frontier.point(point_id).metrics["macro"]["nll"]["selection"].value)


def test_objectives_without_choices_are_chosen_within_one_standard_error_of_the_first():
    """Diversity is the second objective: the most diverse point whose quality is as good as the best, within error."""
    quality = Objective(metric="quality", direction="maximize")
    diversity = Objective(metric="diversity", direction="maximize")
    rng = np.random.default_rng(0)
    table = items({"base": Model()}, 400)["base"]
    shared = rng.random(400)
    values = {
        "lambda=0": (0.1 * shared, np.full(400, 0.9)),
        "lambda=0.5": (shared - 0.001 * rng.random(400), np.full(400, 0.6)),
        "lambda=1": (shared, np.full(400, 0.2)),
    }
    analysis = SweepAnalysis((quality, diversity), BUILT_IN, level=0.95, n_resamples=200, n_bins=15, seed=0)
    frontier = empty((quality, diversity))
    for point_id, (good, diverse) in values.items():
        role = {"lambda=0": "base", "lambda=1": "aligned"}.get(point_id)
        frontier.points.append(PointResult(id=point_id, role=role, axes={"lambda": float(point_id[7:])}, recipe=""))
        tables = {"votes": [without_choices(table, {"quality": good, "diversity": diverse})]}
        analysis.add(frontier.points[-1], tables)
    selection = analysis.conclude(frontier.points, DEFAULT_RULE, {})
    within = abs(values["lambda=0.5"][0] - values["lambda=1"][0])
    assert within.mean() > np.sqrt((within**2).sum()) / 400  # significantly worse, so not in the set
    assert selection.point == "lambda=1"


def test_the_smallest_detectable_difference_shrinks_with_the_square_root_of_the_items():
    small, large = (analysed(SWEEP, n_items=n, n_resamples=200).detectable["acc"] for n in (400, 6400))
    assert small / large == pytest.approx(4.0, rel=0.25)
    # 1.96 + 0.84 standard errors of a difference that some 30 to 40 % of the items contribute to.
    assert 2.8 * np.sqrt(0.15 / 200) < small < 2.8 * np.sqrt(0.6 / 200)


def test_every_parent_has_differences_to_the_others_and_no_test_of_superiority(frontier):
    base, aligned = frontier.parents
    assert (base.differences.keys(), aligned.differences.keys()) == ({"aligned"}, {"base"})
    gain = aligned.differences["base"]["acc"].value
    assert base.differences["aligned"]["acc"].value == pytest.approx(-gain)
    assert base.superiority is None


def test_a_rule_that_gives_way_is_in_the_result_of_each_split():
    options = {"objective": "acc", "bounds": {"ece": {"max": 0.0}}}
    frontier = analysed(SWEEP, rule="max", options=options)
    by_default = analysed(SWEEP, rule=DEFAULT_RULE)
    assert frontier.selection.gave_way.startswith("none of ")
    assert frontier.selection.rule == "max"
    assert frontier.selected.id == by_default.selected.id
    assert all(choice.gave_way for choice in frontier.splits.choices.values())
