"""Objectives that compare with a parent: no point is evaluated before that parent is scored, by whichever worker."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.simulated_models import ACC, Model, items
from mergekit_calib import plugins
from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import ItemStore, Tables
from mergekit_calib.recipe import Point, Racing, SearchSettings, Setting
from mergekit_calib.recipe.axes import read_axis
from mergekit_calib.results.frontier import Objective
from mergekit_calib.search import STRATEGIES, Study
from mergekit_calib.search.driver import Search
from mergekit_calib.search.evaluation import Evaluator
from mergekit_calib.search.racing import Race
from mergekit_calib.storage.locks import Claims

KL = Objective(metric="kl", to="aligned", direction="minimize")
FLIPS = Objective(metric="negative_flips", to="base", direction="minimize")
MODELS = {
    "base": Model(1.3),
    "aligned": Model(1.35, 2.0),
    "lambda=0.25": Model(1.4, 1.1),
    "lambda=0.5": Model(1.5, 1.3),
    "lambda=0.75": Model(0.1, 9.0),
}
N = 600
SCORES: dict[str, Tables] = {name: {"t": [table]} for name, table in items(MODELS, N, task="t").items()}


class Space:
    """Two parents, and the points on λ."""

    parents = (Point("base", {}, {}, "base"), Point("aligned", {}, {}, "aligned"))

    def point(self, setting: Setting) -> Point:
        return Point(f"lambda={setting['lambda']:g}", dict(setting), {})

    def is_parent(self, setting: Setting) -> bool:
        return False

    def key_of(self, point: Point) -> str:
        return f"{point.id:k>16}"

    def facts_of(self, point: Point) -> dict:
        return {"role": point.role, "axes": point.axes}


@pytest.fixture
def search(tmp_path):
    """Return a function that makes another worker's search in the same folder."""
    claims = []

    def make(objectives=(ACC, KL), racing=None) -> Search:
        evaluator = Evaluator(objectives, list(plugins.metrics().values()), n_bins=15, seed=0)
        axis = read_axis([0.25, 0.5, 0.75])
        study = Study(tmp_path / "study.log", "s", {"lambda": axis}, [o.direction for o in objectives], session="s")
        claims.append(Claims(tmp_path / "claims").__enter__())
        race = Race(racing, evaluator, {"t": SCORES["base"]["t"][0].doc_hashes}) if racing else None
        store, strategy = ItemStore(tmp_path / "items"), STRATEGIES["grid"]()
        lock = tmp_path / "lock"
        return Search(
            Space(), SearchSettings(), strategy, study, store, claims[-1], evaluator, lock, {"task": N}, race=race
        )

    yield make
    for each in claims:
        each.__exit__(None, None, None)


def finish(search: Search, point: Point) -> None:
    def score(documents) -> Tables:
        (table,) = SCORES[point.id]["t"]
        return {"t": [table if documents is None else table.take(np.array(documents["t"]))]}

    search.finish(point, search.score(point, point.id, score))


def test_both_parents_have_outcomes_once_both_are_scored_and_points_follow(search):
    worker, handed = search(objectives=(ACC, KL, FLIPS)), []
    for point in worker.points():
        handed.append((point.id, [o.point.id for o in worker.news()]))
        finish(worker, point)
    first, second, third, *_ = handed
    assert [first, second] == [("base", []), ("aligned", [])]
    assert third == ("lambda=0.25", ["base", "aligned"])
    assert len(handed) == 5


def test_a_worker_waits_for_the_parent_that_another_scores(search):
    one, other = search(), search()
    ones, others = one.points(), other.points()
    base, aligned = next(ones), next(others)
    assert (base.id, aligned.id) == ("base", "aligned")
    finish(one, base)
    assert one.news() == []
    assert one._next() is None
    assert one._known.workers_are_busy()
    finish(other, aligned)
    assert [o.point.id for o in other.news()] == ["base", "aligned"]
    assert next(ones).id == "lambda=0.25"
    assert [o.reason for o in one.news()] == [None, None]
    assert next(others).id == "lambda=0.5"


def test_a_new_worker_finds_the_references_in_the_item_store(search):
    first = search()
    for point in first.points():
        finish(first, point)
    again = search()
    assert list(again.points()) == []
    assert {o.point.id: o.reason for o in again.news()} == dict.fromkeys(MODELS)
    assert set(again.references) == {"aligned"}


def test_if_the_parent_fails_no_other_point_is_scored_and_the_other_parent_says_why(search):
    worker = search()
    handed = []
    for point in worker.points():
        handed.append(point.id)
        if point.id == "aligned":
            worker.fail(point, "OSError: no such file")
        else:
            finish(worker, point)
    assert handed == ["base", "aligned"]
    assert {o.point.id: o.reason for o in worker.news()} == {
        "base": "kl_to_aligned cannot be computed: aligned is not scored",
        "aligned": "OSError: no such file",
    }


def test_a_race_compares_the_divergence_on_the_items_that_were_scored(search):
    worker = search(objectives=(ACC, KL), racing=Racing(blocks=4))
    for point in worker.points():
        finish(worker, point)
    stopped = {o.point.id: o.stored.stopped for o in worker.news() if o.stored and o.stored.stopped}
    assert list(stopped) == ["lambda=0.75"]


def test_the_divergence_of_the_search_is_that_of_the_selection_split():
    evaluator = Evaluator([KL], list(plugins.metrics().values()), n_bins=15, seed=0)
    with pytest.raises(CalibError, match="kl_to_aligned cannot be computed: aligned is not scored"):
        evaluator.evaluate(SCORES["base"])
    evaluator.references["aligned"] = SCORES["aligned"]
    assert evaluator.missing_references == set()
    mine, theirs = (SCORES[name]["t"][0] for name in ("lambda=0.5", "aligned"))
    rows = mine.rows("selection")
    ratio = np.log(theirs.probabilities[rows] / mine.probabilities[rows])
    expected = (theirs.probabilities[rows] * ratio).sum(axis=1).mean()
    assert evaluator.evaluate(SCORES["lambda=0.5"]).values[0] == pytest.approx(expected)
