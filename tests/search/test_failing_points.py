"""Points that fail, before or after they were scored: their cost in the budget, their reasons, and later runs."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mergekit_calib import plugins
from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import ItemStore, Tables, content_key
from mergekit_calib.items.table import ItemTable
from mergekit_calib.recipe import Point, Racing, SearchSettings
from mergekit_calib.recipe.axes import Axis, read_axis
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Objective
from mergekit_calib.search import STRATEGIES, Study
from mergekit_calib.search.driver import Search
from mergekit_calib.search.evaluation import Evaluator
from mergekit_calib.search.protocol import Outcome
from mergekit_calib.search.racing import Race
from mergekit_calib.storage.locks import Claims

N = 40
ACC = Objective(metric="acc", direction="maximize")
AUROC = Objective(metric="auroc", direction="maximize")
ECE = Objective(metric="ece", direction="minimize")


def scores(seed: int, all_correct: bool = False) -> Tables:
    """Three-choice items; if `all_correct`, every answer is correct, so that AUROC is undefined."""
    rng = np.random.default_rng(seed)
    logits, ones = rng.normal(size=(N, 3)), np.ones((N, 3), dtype=int)
    logits[:, 0] += 20.0 * all_correct
    labels = np.tile([True, False, False], (N, 1))
    return {"t": [ItemTable("t", np.arange(N), [f"doc-{i}" for i in range(N)], logits, labels, ones, ones)]}


class Space:
    """A space of one axis, with the parents at 0 and 1 if `on_axis`, else outside the space."""

    def __init__(self, on_axis: bool) -> None:
        ends = ({"lambda": 0.0}, {"lambda": 1.0}) if on_axis else ({}, {})
        self.parents = [Point(role, at, {}, role) for role, at in zip(("base", "aligned"), ends, strict=True)]

    def point(self, setting):
        return Point(f"lambda={setting['lambda']:.6g}", dict(setting), {})

    def is_parent(self, setting):
        return any(setting == parent.axes for parent in self.parents)

    def key_of(self, point):
        return content_key(id=point.id)

    def facts_of(self, point):
        return {"role": point.role, "axes": point.axes}


class Worker:
    """A search in `folder`, as one command runs it; the points in `all_correct` have no AUROC."""

    def __init__(self, folder: Path, axis: Axis, objectives: tuple[Objective, ...] = (ACC, AUROC), **options) -> None:
        self.folder, self.axis, self.objectives = folder, axis, objectives
        self.all_correct: tuple[str, ...] = ()
        self.broken: Callable[[Point], bool] = lambda point: False
        self.session, self.strategy, self.space = "first", "grid", Space(options.pop("on_axis", False))
        self.racing: Racing | None = None
        self.settings = SearchSettings(**options)

    def run(self) -> tuple[list[str], int, dict[str, Outcome]]:
        """Return the ids of the points that were handed out, the number of scored documents, and the outcomes."""
        handed, evaluations, outcomes = [], 0, {}
        with Claims(self.folder / "claims") as claims:
            search = self.search(claims)

            def score(documents) -> Tables:
                nonlocal evaluations
                whole = scores(len(handed), all_correct=handed[-1] in self.all_correct)
                tables = whole if documents is None else {"t": [whole["t"][0].take(np.array(documents["t"]))]}
                evaluations += sum(map(len, tables["t"]))
                if self.broken(point):
                    raise RuntimeError("scores that are no numbers")
                return tables

            for point in search.points():
                handed.append(point.id)
                assert len(handed) < 60
                try:
                    search.finish(point, search.score(point, point.id, score))
                except RuntimeError as problem:
                    search.fail(point, str(problem))
            outcomes = {outcome.point.id: outcome for outcome in search.news()}
        return handed, evaluations, outcomes

    def search(self, claims: Claims) -> Search:
        evaluator = Evaluator(self.objectives, list(plugins.metrics().values()), n_bins=15, seed=0)
        directions = [objective.direction for objective in self.objectives]
        study = Study(self.folder / "study.log", "s", {"lambda": self.axis}, directions, session=self.session)
        documents = {"t": scores(0)["t"][0].doc_hashes}
        race = Race(self.racing, evaluator, documents) if self.racing else None
        strategy, store = STRATEGIES[self.strategy](), ItemStore(self.folder / "items")
        lock = self.folder / "lock"
        return Search(
            self.space, self.settings, strategy, study, store, claims, evaluator, lock, {"task": N}, race=race
        )


@pytest.fixture
def worker(tmp_path) -> Iterator[Worker]:
    return Worker(tmp_path, read_axis([0.25, 0.5, 0.75]))


@pytest.mark.parametrize("undefined", ["lambda=0.5", "aligned"])
def test_a_point_with_an_undefined_objective_fails_and_is_not_scored_again(worker, undefined):
    worker.all_correct = (undefined,)
    handed, _, outcomes = worker.run()
    assert len(handed) == 5
    assert outcomes[undefined].stored is None
    assert outcomes[undefined].reason == "auroc is not defined for these answers in the selection split"
    worker.session = "second"
    handed, evaluations, again = worker.run()
    assert (handed, evaluations) == ([], 0)
    assert {name: outcome.reason for name, outcome in again.items()} == {
        name: outcome.reason for name, outcome in outcomes.items()
    }


def test_a_point_whose_worker_died_while_it_noted_a_failure_is_failed_by_the_next(worker, monkeypatch):
    worker.all_correct = ("lambda=0.5",)
    with monkeypatch.context() as patch:
        patch.setattr(Study, "fail", lambda *_: sys.exit("killed"))
        with pytest.raises(SystemExit):
            worker.run()
    handed, _, outcomes = worker.run()
    assert "lambda=0.5" not in handed
    assert "auroc is not defined" in outcomes["lambda=0.5"].reason


def test_an_exception_in_a_plugins_metric_fails_the_point(worker, monkeypatch):
    worker.run()
    worker.session = "second"
    monkeypatch.setattr(Evaluator, "evaluate", lambda *_: 1 / 0)
    _, _, outcomes = worker.run()
    assert {outcome.reason for outcome in outcomes.values()} == {"ZeroDivisionError: division by zero"}


def test_item_scores_without_an_objectives_metric_say_which_they_have():
    own = Objective(metric="exact", task="t", direction="maximize")
    evaluator = Evaluator([own], list(plugins.metrics().values()), n_bins=15, seed=0)
    with pytest.raises(
        CalibError, match=r"t/exact: the item scores have no metric 'exact'; they have acc, acc_norm, ece"
    ):
        evaluator.evaluate(scores(0))
    with pytest.raises(CalibError, match="they have none"):
        evaluator.evaluate({})


@pytest.mark.parametrize("racing", [None, Racing(blocks=2)])
@pytest.mark.parametrize("how", ["undefined", "broken"])
def test_item_evaluations_count_points_that_failed(tmp_path, how, racing):
    axis = read_axis([i / 100 for i in range(2, 20)])
    worker = Worker(tmp_path, axis, item_evaluations=5 * N)
    worker.racing = racing
    if how == "broken":
        worker.broken = lambda point: point.role is None
    else:
        worker.all_correct = tuple(f"lambda={i / 100:.6g}" for i in range(2, 20))
    handed, evaluations, _ = worker.run()
    assert evaluations <= 5 * N
    assert len(handed) >= 5
    if how == "undefined":
        worker.session = "second"
        assert worker.run()[0] == []


def test_a_search_that_meets_only_failing_points_ends_with_its_budget(tmp_path):
    worker = Worker(tmp_path, read_axis({"min": 0.0, "max": 2.0}), (ACC, ECE), points=12, on_axis=True)
    worker.strategy, worker.broken = "adaptive", lambda point: 0.0 < point.axes["lambda"] < 0.4
    handed, _, _ = worker.run()
    assert len(set(handed)) == len(handed)
    assert len(handed) <= 14


def test_adaptive_does_not_propose_a_parent_that_failed(tmp_path):
    worker = Worker(tmp_path, read_axis({"min": 0.0, "max": 2.0}), (ACC, ECE), points=12, on_axis=True)
    worker.strategy, worker.broken = "adaptive", lambda point: point.role == "aligned"
    handed, _, _ = worker.run()
    assert handed.count("aligned") == 1
    assert len(handed) <= 14


@pytest.mark.parametrize("values", [[0.0, 1 / 3, 2 / 3, 1.0], [0.0, 1 / 7, 2 / 7, 3 / 7, 4 / 7, 5 / 7, 6 / 7, 1.0]])
def test_an_axis_of_thirds_or_sevenths_is_searched_and_its_study_rebuilt(tmp_path, values):
    worker = Worker(tmp_path, read_axis(values), (ACC, ECE), on_axis=True)
    handed, _, outcomes = worker.run()
    assert len(handed) == len(values)
    assert {outcome.reason for outcome in outcomes.values()} == {None}
    (tmp_path / "study.log").unlink()
    worker.session = "second"
    handed, _, again = worker.run()
    assert handed == []
    assert again.keys() == outcomes.keys()


def test_a_study_whose_axis_had_another_kind_of_distribution_starts_over(tmp_path):
    even = {"lambda": read_axis([0.0, 0.5, 1.0])}
    study = Study(tmp_path / "study.log", "s", even, ["maximize"])
    study.start({"lambda": 0.5})
    assert len(Study(tmp_path / "study.log", "s", even, ["maximize"]).trials()) == 1
    uneven = {"lambda": read_axis([0.0, 0.4, 1.0])}
    assert Study(tmp_path / "study.log", "s", uneven, ["maximize"]).trials() == []


def test_evenly_spaced_axes_have_a_distribution_with_steps(tmp_path):
    for values in ([0.0, 0.5, 1.0], {"start": 0.0, "stop": 1.5, "step": 0.1}, [1, 2, 3], [0.1, 0.2, 0.3]):
        axis = read_axis(values)
        study = Study(tmp_path / "study.log", str(values), {"lambda": axis}, ["maximize"])
        assert study.distributions["lambda"].step == pytest.approx(axis.values[1] - axis.values[0])


class Failing(Progress):
    """Raises an error while the point λ = 0.5 is scored."""

    def __init__(self, error: OSError) -> None:
        self.error, self.running = error, ""

    def point_started(self, point_id: str) -> None:
        self.running = point_id

    def scoring(self, entry: str, done: int, total: int) -> None:
        if self.running == "lambda=0.5":
            raise self.error


@pytest.mark.parametrize("number", [None, errno.ENOSPC])
def test_an_os_error_ends_a_sweep_only_where_the_machine_is_its_cause(recipe_with, run, tmp_path, number):
    model_error = OSError("Can't load the tokenizer of this model")
    failing = Failing(model_error if number is None else OSError(number, "no such luck"))
    recipe = recipe_with({"lambda": [0.5]})
    if number == errno.ENOSPC:
        with pytest.raises(CalibError, match="no such luck: free some space"):
            run(recipe, tmp_path / "out", failing)
        return
    frontier, _ = run(recipe, tmp_path / "out", failing)
    (failed,) = [point for point in frontier.points if point.status == "failed"]
    assert failed.role is None
    assert failed.reason == "OSError: Can't load the tokenizer of this model"
