"""What changes for users of a parent: counted on the held-out split, with intervals, for each point but that parent."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.simulated_models import ACC, ECE, Model, analysed, empty, items, without_choices
from mergekit_calib import metrics
from mergekit_calib.analysis import SweepAnalysis
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.results.frontier import Frontier, Objective, PointResult

MODELS = {"base": Model(1.3), "aligned": Model(1.35, 2.0), "0.5": Model(1.5, 1.4)}
TASKS = ("one", "another")
KL = Objective(metric="kl", to="aligned", direction="minimize")
FLIPS = Objective(metric="negative_flips", to="aligned", average="macro", direction="minimize")


@pytest.fixture(scope="module")
def frontier() -> Frontier:
    return analysed(MODELS, tasks=TASKS, n_items={"one": 300, "another": 200}, n_resamples=100)


def answers(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a model's answers, whether each is correct, and log-likelihoods, on the held-out split of both tasks."""
    tables = [items(MODELS, size, task=task)[name] for task, size in (("one", 300), ("another", 200))]
    parts = [table.take(table.rows("held_out")) for table in tables]
    scores, labels = (np.concatenate([getattr(p, field) for p in parts]) for field in ("log_likelihoods", "labels"))
    best = scores.argmax(axis=1)
    return best, labels[np.arange(len(best)), best], scores


@pytest.mark.parametrize(("point", "name"), [("lambda=0.5", "0.5"), ("lambda=0", "base")])
def test_changes_are_counted_over_all_tasks(frontier, point, name):
    changes = frontier.point(point).changes["aligned"]
    (mine, right, scores), (theirs, was_right, reference) = answers(name), answers("aligned")
    assert changes.differ.value == pytest.approx(np.mean(mine != theirs))
    assert changes.wrong_to_correct.value == pytest.approx(np.mean(right & ~was_right))
    assert changes.correct_to_wrong.value == pytest.approx(np.mean(was_right & ~right))
    assert changes.kl.value == pytest.approx(metrics.kl_divergence(reference, scores))
    for estimate in (changes.differ, changes.wrong_to_correct, changes.correct_to_wrong, changes.kl):
        assert 0 <= estimate.low < estimate.value < estimate.high
        assert estimate.n == len(mine)


def test_gains_and_losses_of_correct_answers_add_up_to_the_difference_in_accuracy(frontier):
    changes, difference = frontier.point("lambda=0.5").changes["base"], frontier.point("lambda=0.5").differences["base"]
    gained = changes.wrong_to_correct.value - changes.correct_to_wrong.value
    assert gained == pytest.approx(difference["acc"].value)


def test_every_point_has_them_for_each_parent_but_a_parent_not_for_itself(frontier):
    assert {p.id: set(p.changes) for p in frontier.points} == {
        "lambda=0": {"aligned"},
        "lambda=1": {"base"},
        "lambda=0.5": {"base", "aligned"},
    }


def test_points_without_choices_have_none():
    f1 = Objective(metric="f1", direction="maximize")
    analysis, frontier = SweepAnalysis([f1], BUILT_IN, 0.95, 100, 15, 0), empty((f1,))
    for role, table in items({name: MODELS[name] for name in ("base", "aligned")}, 60).items():
        frontier.points.append(PointResult(id=role, role=role, recipe=""))
        analysis.add(frontier.points[-1], {"t": [without_choices(table, {"f1": np.linspace(0, 1, 60)})]})
    frontier.selection = analysis.conclude(frontier.points, "knee", {})
    analysis.finish(frontier, "knee", {})
    assert [p.changes for p in frontier.points] == [{}, {}]


def test_a_choice_that_only_the_point_rules_out_has_no_finite_divergence():
    tables = items({name: MODELS[name] for name in ("base", "aligned")}, 60)
    tables["base"].log_likelihoods[:, 0] = np.where(tables["base"].labels[:, 0], 0.0, -np.inf)
    analysis, frontier = SweepAnalysis([ACC, ECE], BUILT_IN, 0.95, 100, 15, 0), empty((ACC, ECE))
    for role, table in tables.items():
        frontier.points.append(PointResult(id=role, role=role, recipe=""))
        analysis.add(frontier.points[-1], {"t": [table]})
    frontier.selection = analysis.conclude(frontier.points, "knee", {})
    analysis.finish(frontier, "knee", {})
    assert frontier.point("base").changes["aligned"].kl.value is None
    assert frontier.point("aligned").changes["base"].kl.value is not None


def test_as_objectives_they_are_estimated_in_every_scope_and_compared_with_the_parents():
    objectives = [ACC, KL, FLIPS]
    scores = {task: items(MODELS, 200, task=task) for task in TASKS}
    tables = {name: {task: [of[name]] for task, of in scores.items()} for name in MODELS}
    analysis = SweepAnalysis(objectives, BUILT_IN, 0.95, 100, 15, 0, references={"aligned": tables["aligned"]})
    frontier = empty(tuple(objectives))
    for name in MODELS:
        frontier.points.append(PointResult(id=name, role=name if name in frontier.models else None, recipe=""))
        analysis.add(frontier.points[-1], tables[name])
    frontier.selection = analysis.conclude(frontier.points, "knee", {})
    analysis.finish(frontier, "knee", {})
    point, aligned = frontier.point("0.5"), frontier.parent("aligned")
    assert set(point.metrics["suite"]["kl_to_aligned"]) == {"all", "selection", "held_out"}
    assert point.estimate(KL).value == pytest.approx(point.changes["aligned"].kl.value)
    of_tasks = [point.metrics[task]["negative_flips_to_aligned"]["held_out"].value for task in TASKS]
    assert point.estimate(FLIPS).value == pytest.approx(np.mean(of_tasks))
    assert (aligned.estimate(KL).value, aligned.estimate(KL).high) == (0.0, 0.0)
    assert point.differences["aligned"]["kl_to_aligned"].value == point.estimate(KL).value
    assert frontier.baseline("base|aligned").estimate(KL).value > 0
