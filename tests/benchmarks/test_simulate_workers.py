"""The simulation of many workers: it runs the real search, no point is scored twice, and its time adds up."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from helpers.simulated_search import OBJECTIVES, Costs, World, simulate
from helpers.simulated_time import SimulatedTime
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.items.store import ItemStore
from mergekit_calib.recipe import SearchSettings
from mergekit_calib.search import STRATEGIES, Study
from mergekit_calib.search.driver import Search
from mergekit_calib.search.evaluation import Evaluator
from mergekit_calib.storage.locks import Claims

GRID = {"lambda": {"start": 0.0, "stop": 1.5, "step": 0.25}}
RANGE = {"lambda": {"min": 0.0, "max": 1.5}}
SEARCHES = [
    (GRID, {"strategy": "grid"}),
    (RANGE, {"strategy": "adaptive"}),
    (RANGE, {"strategy": "random", "points": 9}),
]
COSTS = Costs(start=30.0, merge=1.0, document=0.1, save=0.2, load=0.1, evaluate=0.05)
N_ITEMS = 100


def free_time() -> SimulatedTime:
    """A clock on which nothing takes time but what `Costs` name."""
    return SimulatedTime(stopwatch=lambda: 0.0)


@pytest.mark.parametrize(("axes", "search"), SEARCHES, ids=lambda value: value.get("strategy"))
def test_one_simulated_worker_scores_the_points_that_the_real_search_scores_in_the_same_order(tmp_path, axes, search):
    world, settings = World(axes, N_ITEMS, 0), SearchSettings(**search)
    evaluator = Evaluator(OBJECTIVES, BUILT_IN, 15, 0)
    study = Study(tmp_path / "study.log", "s", world.axes, ["maximize", "minimize"], session="now")
    store, strategy = ItemStore(tmp_path / "items"), STRATEGIES[search["strategy"]]()
    handed = []
    with Claims(tmp_path / "claims") as claims:
        real = Search(world, settings, strategy, study, store, claims, evaluator, tmp_path / "lock", {"t": N_ITEMS})
        for point in real.points():
            handed.append(point.id)
            real.finish(point, real.score(point, point.id, lambda _, at=point.axes: world.tables(at)))
    run = simulate(world, search, 1, tmp_path / "simulated", COSTS, free_time())
    assert [scored.point.id for scored in run.scored] == handed


@pytest.mark.parametrize(("axes", "search"), SEARCHES, ids=lambda value: value.get("strategy"))
@pytest.mark.parametrize("n_workers", [2, 16])
def test_simulated_workers_never_score_a_point_twice(tmp_path, n_workers, axes, search):
    run = simulate(World(axes, N_ITEMS, 0), search, n_workers, tmp_path, COSTS, free_time())
    assert set(Counter(scored.point.id for scored in run.scored).values()) == {1}
    assert len({scored.worker for scored in run.scored}) > 1
    if search["strategy"] == "grid":
        assert len(run.scored) == 7


def test_the_time_of_one_worker_is_that_of_its_points(tmp_path):
    run = simulate(World(GRID, N_ITEMS, 0), {"strategy": "grid"}, 1, tmp_path, COSTS, free_time())
    scoring = COSTS.start + 7 * (COSTS.merge + N_ITEMS * COSTS.document)
    assert run.busy == pytest.approx(scoring)
    assert run.seconds == pytest.approx(scoring + 7 * (COSTS.save + COSTS.evaluate))
    assert run.locked_out == 0


def test_seven_points_take_seven_workers_the_time_of_one_and_an_eighth_worker_is_idle(tmp_path):
    world, each = World(GRID, N_ITEMS, 0), Costs(document=0.1)
    alone = simulate(world, {"strategy": "grid"}, 1, tmp_path / "1", each, free_time())
    seven = simulate(world, {"strategy": "grid"}, 7, tmp_path / "7", each, free_time())
    eight = simulate(world, {"strategy": "grid"}, 8, tmp_path / "8", each, free_time())
    assert alone.seconds == pytest.approx(7 * seven.seconds)
    assert seven.idle_share == pytest.approx(0)
    assert eight.idle_share == pytest.approx(1 / 8, abs=0.01)
    assert eight.busy == pytest.approx(alone.busy)


def test_no_search_begins_a_point_after_its_simulated_minutes(tmp_path):
    search = {"strategy": "grid", "minutes": 1}
    run = simulate(World(GRID, N_ITEMS, 0), search, 1, tmp_path, Costs(document=0.25), free_time())
    assert [scored.at for scored in run.scored] == pytest.approx([25, 50, 75])


def test_scores_of_other_workers_are_read_before_the_lock_is_taken(tmp_path):
    costs = Costs(document=0.1, load=1.0)
    time = free_time()
    run = simulate(World(RANGE, N_ITEMS, 0), {"strategy": "random", "points": 20}, 3, tmp_path, costs, time)
    held_to_read = np.array([seconds for seconds in run.lock_seconds if seconds >= costs.load])
    assert held_to_read.sum() < 0.3 * 2 * len(run.scored) * costs.load  # two workers read each point


def test_a_strategy_with_nothing_to_propose_is_asked_by_one_worker_for_all(tmp_path, monkeypatch):
    asked, ask = [], STRATEGIES["curve"].ask

    def counting(self, study):
        proposal = ask(self, study)
        asked.append(proposal is None)
        return proposal

    monkeypatch.setattr(STRATEGIES["curve"], "ask", counting)
    run = simulate(World(RANGE, N_ITEMS, 0), {"strategy": "curve"}, 16, tmp_path, COSTS, free_time())
    assert sum(asked) <= 2 * len(run.scored)  # for each state of the study at most once
