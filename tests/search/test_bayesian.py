"""The strategy `bayesian` on simulated models: with item scores, running, stopped and failed points, names, repeats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mergekit_calib import pareto, plugins
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable
from mergekit_calib.recipe.axes import read_axis
from mergekit_calib.results.frontier import Objective
from mergekit_calib.search import STRATEGIES, Evaluated, Study
from mergekit_calib.search.evaluation import Evaluator
from mergekit_calib.search.strategies import bayesian

N_ITEMS = 400
OBJECTIVES = [Objective(metric="acc", direction="maximize"), Objective(metric="ece", direction="minimize")]
RANGE = {"min": 0.0, "max": 1.0}
AXES = {"a": RANGE, "b": RANGE}
_OFFSET = {"linear": 0.0, "slerp": 0.3, "ties": -0.6}


def tables(setting: dict) -> Tables:
    """Return a model's scores: `a` is best at 0.7, `b` makes it confident, a method shifts the margins."""
    rng = np.random.default_rng(0)
    a, b = float(setting.get("a", 0.7)), float(setting.get("b", 0.5))
    margins = 0.7 - 4.0 * (a - 0.7) ** 2 + _OFFSET[setting.get("method", "linear")] + rng.normal(0.0, 1.0, N_ITEMS)
    margins += 0.5 * a * rng.normal(0.0, 1.0, N_ITEMS)
    scores = np.zeros((N_ITEMS, 3))
    scores[:, 0] = (0.5 + 3.0 * b) * margins
    labels = np.zeros((N_ITEMS, 3), dtype=bool)
    labels[:, 0] = True
    sizes = np.ones((N_ITEMS, 3), dtype=int)
    return {
        "t": [ItemTable("t", np.arange(N_ITEMS), [f"doc-{i}" for i in range(N_ITEMS)], scores, labels, sizes, sizes)]
    }


class Sweep:
    """A study with simulated models, whose parents are at both ends of `a`."""

    def __init__(self, folder: Path, axes: dict, name: str = "s", evaluator: bool = True) -> None:
        self.evaluator = Evaluator(OBJECTIVES, list(plugins.metrics().values()), n_bins=15, seed=0)
        read = {axis: read_axis(values) for axis, values in axes.items()}
        ways = [objective.direction for objective in OBJECTIVES]
        known = self.evaluator if evaluator else None
        self.study = Study(folder / f"{name}.log", name, read, ways, seed=1, evaluator=known)
        if axes.keys() == AXES.keys():
            for role, end in (("base", 0.0), ("aligned", 1.0)):
                self.add({"a": end, "b": end}, role=role)

    def add(self, setting: dict, role: str | None = None, rows: int | None = None) -> None:
        scored = tables(setting)
        if rows is not None:
            scored = {"t": [scored["t"][0].take(np.arange(rows))]}
        evaluation = self.evaluator.evaluate(scored)
        self.study.evaluated.append(Evaluated(setting, evaluation, rows is not None, scored, role))
        if role:
            self.study.parent_evaluations.append(evaluation)

    def score(self, proposal, rows: int | None = None) -> None:
        self.add(proposal.setting, rows=rows)
        self.study.name_point(proposal.number, str(proposal.number))
        self.study.tell(proposal.number, self.study.evaluated[-1].evaluation, stopped=rows is not None)

    def run(self, n: int, **options) -> list[dict]:
        asked, settings = STRATEGIES["bayesian"](**options), []
        for _ in range(n):
            if (proposal := asked.ask(self.study)) is None:
                break
            self.score(proposal)
            settings.append(proposal.setting)
        return settings


@pytest.fixture
def sweep(tmp_path) -> Sweep:
    return Sweep(tmp_path, AXES)


@pytest.mark.parametrize("model", ["items", "objectives"])
def test_ten_points_have_most_of_the_hypervolume_of_a_dense_grid(sweep, model):
    ways = sweep.study.directions
    reference = pareto.gains([e.values for e in sweep.study.parent_evaluations], ways).min(axis=0)
    grid = [{"a": a, "b": b} for a in np.linspace(0, 1, 13) for b in np.linspace(0, 1, 13)]
    dense = pareto.gains([sweep.evaluator.evaluate(tables(setting)).values for setting in grid], ways)
    sweep.run(10, startup=4, model=model)
    reached = pareto.gains([p.evaluation.values for p in sweep.study.evaluated], ways)
    whole, start, end = (pareto.hypervolume(v, ["maximize"] * 2, reference) for v in (dense, reached[:6], reached))
    assert end > 0.85 * whole > start


def test_a_repeated_run_proposes_the_same_points(tmp_path):
    first, second = (Sweep(tmp_path, AXES, name).run(7, startup=4) for name in ("one", "two"))
    assert first == second


def test_items_make_a_difference_and_a_study_without_an_evaluator_has_objectives_alone(tmp_path):
    with_items = Sweep(tmp_path, AXES, "items").run(6, startup=4)
    alone = Sweep(tmp_path, AXES, "alone", evaluator=False).run(6, startup=4)
    objectives = Sweep(tmp_path, AXES, "objectives").run(6, startup=4, model="objectives")
    assert alone == objectives
    assert with_items[:4] == alone[:4]
    assert with_items[4:] != alone[4:]


def test_points_with_other_documents_give_way_to_objectives(sweep):
    sweep.run(4, startup=4)
    sweep.study.evaluated[-1].tables["t"][0].doc_hashes[0] = "another"
    assert STRATEGIES["bayesian"](startup=4).ask(sweep.study) is not None


@pytest.mark.parametrize("model", ["items", "objectives"])
def test_workers_that_ask_at_the_same_time_get_points_that_are_apart(sweep, model):
    sweep.run(8, startup=4, model=model)
    asked = STRATEGIES["bayesian"](startup=4, model=model)
    running = [asked.ask(sweep.study).setting for _ in range(3)]
    assert len(sweep.study.running) == 3
    places = np.array([[s["a"], s["b"]] for s in running])
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)[np.triu_indices(3, 1)]
    assert distances.min() > 0.01


def test_a_stopped_point_counts_with_its_objectives_and_not_with_its_items(sweep):
    sweep.run(6, startup=4)
    asked = STRATEGIES["bayesian"](startup=4)
    sweep.score(asked.ask(sweep.study), rows=150)
    assert sweep.study.evaluated[-1].stopped
    proposal = asked.ask(sweep.study)
    assert proposal.setting not in [point.setting for point in sweep.study.evaluated]


def test_what_a_stopped_point_showed_moves_what_is_believed_of_its_neighbours(sweep):
    sweep.run(6, startup=4)
    where = np.array([[0.41, 0.83]])
    before = bayesian.item_beliefs(sweep.study, np.empty((0, 2)), 64).draw(where)
    sweep.add({"a": 0.4, "b": 0.82}, rows=150)
    stopped = sweep.study.evaluated[-1].evaluation
    worse = type(stopped)(stopped.values - [0.2, 0.0], stopped.replicates - [0.2, 0.0])
    sweep.study.evaluated[-1] = Evaluated({"a": 0.4, "b": 0.82}, worse, stopped=True)
    after = bayesian.item_beliefs(sweep.study, np.empty((0, 2)), 64).draw(where)
    assert after[..., 0].mean() < before[..., 0].mean()


def test_names_and_stepped_numbers_are_searched_until_none_is_left(tmp_path):
    sweep = Sweep(tmp_path, {"a": [0.0, 0.4, 0.7, 1.0], "method": list(_OFFSET)}, "names")
    settings = sweep.run(20, startup=4)
    assert len(settings) == 12
    assert len({(s["a"], s["method"]) for s in settings}) == 12
    assert {"a": 0.7, "method": "slerp"} in settings[:7]


def test_a_failed_point_is_not_proposed_again_nor_are_points_beside_it(sweep):
    sweep.run(6, startup=4)
    asked, failed = STRATEGIES["bayesian"](startup=4), []
    for _ in range(3):
        proposal = asked.ask(sweep.study)
        sweep.study.name_point(proposal.number, str(proposal.number))
        sweep.study.fail(proposal.number, "it cannot be merged")
        failed.append([proposal.setting["a"], proposal.setting["b"]])
    distances = np.linalg.norm(np.array(failed)[:, None] - np.array(failed)[None], axis=-1)
    assert distances[np.triu_indices(3, 1)].min() > 0.01


def test_where_nothing_gains_on_the_parents_it_still_searches(sweep):
    sweep.study.parent_evaluations[:] = [
        type(e)(e.values * [0, 0] + [2.0, -1.0], e.replicates) for e in sweep.study.parent_evaluations
    ]
    assert len(sweep.run(6, startup=4)) == 6


def test_a_parent_beyond_the_axes_is_no_candidate(tmp_path):
    sweep = Sweep(tmp_path, {"a": {"min": 0.0, "max": 0.5}, "b": RANGE}, "narrow")
    assert all(setting["a"] <= 0.5 for setting in sweep.run(7, startup=4))
