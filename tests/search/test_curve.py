"""The strategy `curve`: its nodes, when it stops adding them, and the points near the choice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mergekit_calib.analysis import SweepAnalysis
from mergekit_calib.errors import RecipeError
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.items.table import choice_table
from mergekit_calib.recipe.axes import read_axis
from mergekit_calib.report.text.prediction_texts import prediction
from mergekit_calib.results.events import Progress
from mergekit_calib.results.findings import Objective
from mergekit_calib.search import STRATEGIES, Evaluated, Study
from mergekit_calib.search.evaluation import Evaluator
from mergekit_calib.search.strategies.curve import nice_steps
from mergekit_calib.search.surrogate.leja import leja_points

OBJECTIVES = [Objective(metric="acc", direction="maximize"), Objective(metric="ece", direction="minimize")]
N_ITEMS = 600
RANGE = {"min": 0, "max": 1.5}


def smooth(value):
    """Return item scores that change smoothly: the label gains up to λ = 0.7, and all choices grow apart."""
    rng = np.random.default_rng(0)
    start, slope = rng.normal(0, 1, (2, N_ITEMS, 4))
    start[:, 0] += 0.7 + 1.4 * np.sin(1.5 * value)
    return tables(start * (1 + value) + slope * value**2)


def rough(value):
    """Return item scores of which one λ says nothing about another."""
    return tables(np.random.default_rng(int(1000 * value) + 1).normal(0, 2, (N_ITEMS, 4)))


def tables(logits):
    table = choice_table(logits - 5.0, [[0]] * N_ITEMS)
    hashes = [f"{i:04d}" for i in range(N_ITEMS)]
    return {"t": [replace(table, task="t", doc_hashes=hashes)]}


class World:
    """A study whose points have the item scores of a function of λ; no model is run."""

    def __init__(
        self, folder, score=smooth, axis=RANGE, parents=(0.0, 1.0), broken=(), rule="one_se", rule_options=None
    ):
        self.score, self.broken, self.evaluator = score, broken, Evaluator(OBJECTIVES, BUILT_IN, 15, 0)
        self.analysis = SweepAnalysis(
            OBJECTIVES, BUILT_IN, level=0.95, n_resamples=100, n_bins=15, seed=0, choose_on="all"
        )
        self.study = Study(
            folder / "study.log",
            "s",
            {"lambda": read_axis(axis)},
            ["maximize", "minimize"],
            session="now",
            evaluator=self.evaluator,
            choose=self.analysis.item_score_chooser(rule, rule_options or {}).choose,
            parents=[{"lambda": p} for p in parents],
        )
        self.strategy, self.asked = STRATEGIES["curve"](), []
        for role, parent in zip(("base", "aligned"), parents, strict=False):
            if parent in broken:
                self.study.failed_parents.append({"lambda": parent})
            else:
                self.add(parent, role)

    def add(self, value, role=None, number=None):
        scores = self.score(value)
        evaluation = self.evaluator.evaluate(scores)
        if number is not None:
            self.study.tell(number, evaluation)
        self.study.evaluated.append(Evaluated({"lambda": value}, evaluation, False, scores, role))

    def ask(self):
        if (proposal := self.strategy.ask(self.study)) is not None:
            self.study.name_point(proposal.number, str(proposal.number))
            self.asked.append(proposal.setting["lambda"])
        return proposal

    def finish(self, proposal):
        value = proposal.setting["lambda"]
        if value in self.broken:
            self.study.fail(proposal.number, "it cannot be merged")
        else:
            self.add(value, number=proposal.number)

    def run(self, n_workers=1):
        running = []
        while True:
            while len(running) < n_workers and (proposal := self.ask()) is not None:
                running.append(proposal)
            if not running:
                return self.asked
            self.finish(running.pop(0))

    def choice(self):
        points = sorted(self.study.evaluated, key=lambda e: e.setting["lambda"])
        return points[self.study.choose([e.tables for e in points], [e.role for e in points])[0]].setting["lambda"]

    @property
    def nodes(self):
        return [node["lambda"] for node in self.strategy.interpolation(self.study).nodes]


def test_a_smooth_curve_takes_few_nodes_and_then_the_choice_with_both_neighbours(tmp_path):
    world = World(tmp_path)
    asked = world.run()
    expected = leja_points(0.0, 1.5, [0.0, 1.0, 1.5], 9, lambda x: round(x, 3))
    assert world.nodes == expected[: len(world.nodes)]
    assert 6 <= len(world.nodes) <= 8
    assert world.strategy.interpolation(world.study).is_known
    assert len(asked) + 2 <= 12
    choice, scored = world.choice(), sorted({*asked, 0.0, 1.0})
    assert choice not in (scored[0], scored[-1])
    at = scored.index(choice)
    assert scored[at + 1] - scored[at - 1] <= 2 * 0.2
    fine = [round(x, 3) for x in np.linspace(0, 1.5, 61)]
    best = fine[world.study.choose([smooth(x) for x in fine], [None] * 61)[0]]
    assert abs(choice - best) <= 0.05


def test_the_points_near_the_choice_are_those_of_the_sweeps_rule(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    default = World(tmp_path / "a")
    other = World(tmp_path / "b", rule="max", rule_options={"objective": "ece"})
    choices = []
    for world in (default, other):
        world.run()
        fine = [round(x, 3) for x in np.linspace(0, 1.5, 61)]
        best = fine[world.study.choose([smooth(x) for x in fine], [None] * 61)[0]]
        assert abs(world.choice() - best) <= 0.1
        choices.append(best)
    assert choices[0] != choices[1]


def test_without_smoothness_it_goes_on_as_adaptive_and_says_so(tmp_path):
    world = World(tmp_path, rough)
    world.run()
    found = world.strategy.interpolation(world.study)
    assert not found.is_known
    assert found.went_on
    assert len(found.nodes) == 9
    assert len(world.asked) > 9 - 2  # adaptive halves intervals between the nodes
    assert set(world.asked) > set(world.nodes) - {0.0, 1.0}


@pytest.mark.parametrize("n_workers", [2, 3])
def test_workers_get_other_nodes_without_waiting_and_end_at_the_same_choice(tmp_path, n_workers):
    (tmp_path / "alone").mkdir()
    (tmp_path / "shared").mkdir()
    alone, shared = World(tmp_path / "alone"), World(tmp_path / "shared")
    alone.run()
    shared.run(n_workers)
    assert len(set(shared.asked)) == len(shared.asked)
    assert shared.nodes[: len(alone.nodes)] == alone.nodes
    assert len(shared.nodes) < len(alone.nodes) + n_workers
    assert shared.choice() == pytest.approx(alone.choice(), abs=0.05)


def test_a_worker_that_asks_before_a_parent_is_scored_gets_a_node_of_the_same_curve(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, early = World(tmp_path / "a"), World(tmp_path / "b", parents=(0.0, 1.0))
    early.study.evaluated.pop()  # another worker scores aligned
    first = [early.ask().setting["lambda"] for _ in range(3)]
    assert first == [whole.ask().setting["lambda"] for _ in range(3)]
    assert not early.strategy.interpolation(early.study).is_known


@pytest.mark.parametrize("broken", [(1.5,), (1.0,), (leja_points(0.0, 1.5, [0.0, 1.0, 1.5], 4)[-1],)])
def test_a_node_that_fails_is_left_out(tmp_path, broken):
    broken = tuple(round(value, 3) for value in broken)
    world = World(tmp_path, broken=broken)
    asked = world.run()
    assert not {*world.nodes} & {*broken}
    assert world.strategy.interpolation(world.study).is_known
    assert asked.count(broken[0]) <= 1
    # Nothing is predicted, and so nothing chosen, beyond the outermost node that was scored.
    assert max(asked) <= max(world.nodes) or max(asked) == 1.5
    assert world.choice() <= max(world.nodes)


def test_parents_that_are_not_on_the_axis_are_no_nodes(tmp_path):
    world = World(tmp_path, parents=())
    assert [world.ask().setting["lambda"] for _ in range(3)] == leja_points(0.0, 1.5, [0.0, 1.5], 3)


def test_points_of_an_earlier_grid_are_candidates_and_no_nodes(tmp_path):
    world = World(tmp_path)
    grid = [round(0.1 * i, 1) for i in range(1, 16) if i != 10]
    for value in grid:
        world.add(value)
    world.run()
    assert not {*grid} & {*world.nodes} - {1.5}
    assert world.strategy.interpolation(world.study).is_known
    values = sorted(e.setting["lambda"] for e in world.study.evaluated)
    at = values.index(world.choice())
    assert values[at + 1] - values[at - 1] <= 0.2


def test_nodes_are_not_raced_and_other_points_are(tmp_path):
    world = World(tmp_path)
    world.run()
    others = set(world.asked) - set(world.nodes)
    assert others
    assert not any(world.strategy.may_race(world.study, {"lambda": value}) for value in world.nodes)
    assert all(world.strategy.may_race(world.study, {"lambda": value}) for value in others)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"lambda": {"start": 0, "stop": 1.5, "step": 0.5}}, r"write it as `lambda: \{min: 0, max: 1.5\}`"),
        ({"lambda": [0.25, 0.75]}, r"write it as `lambda: \{min: 0.25, max: 0.75\}`"),
        ({"lambda": [0.25]}, r"such as `lambda: \{min: 0, max: 1.5\}`"),
        ({"lambda": {"min": 0, "max": 1}, "density": {"min": 0.2, "max": 1}}, "one axis, and there are 2"),
    ],
)
def test_axes_that_it_cannot_predict_are_refused_with_the_way_out(recipe_with, run, tmp_path, axes, message):
    recipe = recipe_with({"lambda": axes["lambda"]}, "curve") if len(axes) == 1 else None
    if recipe is None:
        assert message in STRATEGIES["curve"].fits({name: read_axis(axis) for name, axis in axes.items()})
        return
    with pytest.raises(RecipeError, match=message):
        run(recipe, tmp_path / "out")


def test_more_nodes_than_it_may_score_cannot_be_asked_for(recipe_with, run, tmp_path):
    search = {"strategy": "curve", "least": 8, "most": 5}
    with pytest.raises(RecipeError, match=r"calibration.search: most is 5, below least \(8\)"):
        run(recipe_with({"lambda": RANGE}, search), tmp_path / "out")


def test_steps_between_candidates_are_round_numbers():
    assert nice_steps(0.015, 0.15) == [0.1, 0.05, 0.02]
    assert nice_steps(0.3, 0.4) == [0.2]


class Predictions(Progress):
    """Notes after each point whether the result so far has predictions."""

    def __init__(self):
        self.seen = []

    def point_finished(self, point, frontier):
        self.seen.append(frontier.predicted is not None)


def test_a_range_is_searched_by_curve_and_a_second_run_scores_nothing(recipe_with, run, tmp_path):
    recipe, predictions = recipe_with({"lambda": RANGE}, {}), Predictions()
    frontier, scored = run(recipe, tmp_path / "out", predictions)
    assert frontier.predicted.known == predictions.seen[-1]
    assert not any(predictions.seen[:4])
    assert frontier.predicted is not None
    assert frontier.predicted.nodes[:3] == ["lambda=0", "lambda=1", "lambda=1.5"]
    assert frontier.selection.split == "all"
    assert len(scored) == len(frontier.points)
    again, scored = run(recipe, tmp_path / "out")
    assert scored == {}
    assert {p.id for p in again.points} == {p.id for p in frontier.points}
    assert again.selected.id == frontier.selected.id


def test_a_budget_that_ends_the_search_among_the_nodes_is_not_said_to_go_on(recipe_with, run, tmp_path):
    run(recipe_with({"lambda": [0.3]}), tmp_path / "out")
    frontier, _ = run(recipe_with({"lambda": RANGE}, {"strategy": "curve", "points": 3}), tmp_path / "out")
    assert not frontier.predicted.known
    assert not frontier.predicted.went_on
    assert "The search ended with 4 nodes" in prediction(frontier)


def test_a_parent_that_the_method_does_not_reach_is_scored_and_no_node(recipe_with, run, tmp_path):
    recipe = recipe_with({"lambda": RANGE}, {})
    recipe["parameters"] = {"method": "ties", "density": 0.5}
    frontier, _ = run(recipe, tmp_path / "out")
    assert frontier.parent("aligned").axes == {}
    assert "aligned" not in frontier.predicted.nodes
    assert frontier.predicted.nodes[0] == "lambda=0"
