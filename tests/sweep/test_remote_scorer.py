"""Points that a worker scores elsewhere: the scores of this process, and what happens when the worker dies.

The worker here is a `NodeWorker` in this process that loses all it holds where a test says so; tests/ray_cluster has
workers on a real cluster.
"""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
from mergekit.options import MergeOptions

from helpers.prepared_sweeps import short_form
from mergekit_calib.errors import CalibError, ScorerLostError, ScorerRefusedError
from mergekit_calib.items.store import ItemStore
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.recipe import dump_recipe, parse_sweep
from mergekit_calib.results.events import Progress
from mergekit_calib.sweep.coordinator import run_sweep, run_worker
from mergekit_calib.sweep.remote.cluster_places import NodeResources, Places, places_for_workers
from mergekit_calib.sweep.remote.node_content import NodeContent, content_here
from mergekit_calib.sweep.remote.node_worker import Job, NodeWorker
from mergekit_calib.sweep.remote.ray_workers import RayCluster
from mergekit_calib.sweep.remote.remote_scorer import Life, Patience, RemoteFailure, RemoteScorer, WorkerDiedError

OPTIONS = MergeOptions(quiet=True, random_seed=0)


class MortalWorker:
    """Dies at calls of its methods, counted from 1 over all of its lives, and has no place for some waits."""

    def __init__(self, dies_at=(), homeless=()):
        self.dies_at, self.homeless = set(dies_at), set(homeless)
        self.calls, self.waits, self.lives = [], 0, 1
        self._node = NodeWorker()

    def wait(self, seconds):
        self.waits += 1
        return None if self.waits in self.homeless else Life(str(self.lives), "node here")

    def ask(self, method, *arguments, progress=None):
        self.calls.append(method)
        if len(self.calls) in self.dies_at:
            self._node, self.lives = NodeWorker(), self.lives + 1
            raise WorkerDiedError("killed")
        try:
            return pickle.loads(pickle.dumps(getattr(self._node, method)(*pickle.loads(pickle.dumps(arguments)))))
        except Exception as problem:
            raise type(type(problem).__name__, (RemoteFailure,), {})(str(problem)) from problem


@pytest.fixture(scope="module")
def sweep(make_model, task):
    register()
    block = {"axes": {"lambda": [0.25, 0.5]}, "suite": [task], "n_resamples": 100}
    recipe = dump_recipe({**short_form(make_model(seed=0), make_model(seed=1)), "calibration": block})
    return parse_sweep(recipe, registered_signatures(), "sweep.yml")


class OneWorkerCrew:
    """A crew of one, which scores everything before it tells."""

    size, scores_here = 1, False

    def __init__(self, worker, sweep, out, patience=None, content=None):
        self._worker, self._sweep, self._out = worker, sweep, out
        self._patience, self._content = patience or Patience(), content

    def work(self, streams, progress):
        ended = []
        run_worker(self._sweep, self._out, OPTIONS, Progress(), ended.append, streams, self._scorer)
        yield from ended

    def _scorer(self, prepared):
        content = self._content or content_here(prepared, prepared.folder.contents)
        return RemoteScorer(self._worker, Job(self._sweep, OPTIONS, os.getcwd()), content, self._patience)


def run_with(worker, sweep, out, **more):
    return run_sweep(sweep, out, OPTIONS, crew=OneWorkerCrew(worker, sweep, out, **more))


def scores_in(out):
    store = ItemStore(out / "calibration" / "items")
    points = [store.load(key) for key in sorted(store.keys())]
    return {p.id: (p.digest, [t.log_likelihoods for some in p.tables.values() for t in some]) for p in points}


def assert_same_scores(out, other):
    ours, theirs = scores_in(out), scores_in(other)
    assert ours.keys() == theirs.keys()
    for point, (digest, arrays) in ours.items():
        assert digest == theirs[point][0]
        for array, expected in zip(arrays, theirs[point][1], strict=True):
            np.testing.assert_allclose(array, expected, atol=1e-5)


@pytest.fixture(scope="module")
def local(sweep, tmp_path_factory):
    out = tmp_path_factory.mktemp("local") / "out"
    return out, run_sweep(sweep, out, OPTIONS)


def test_a_worker_elsewhere_gives_the_scores_and_the_choice_of_this_process(sweep, local, tmp_path):
    frontier = run_with(MortalWorker(), sweep, tmp_path / "out")
    assert frontier.selected.id == local[1].selected.id
    assert_same_scores(tmp_path / "out", local[0])


def test_a_point_whose_worker_dies_is_asked_for_again_when_the_worker_is_back(sweep, local, tmp_path):
    worker = MortalWorker(dies_at=[2, 5])  # while it makes the first point, and while it prepares or scores again
    frontier = run_with(worker, sweep, tmp_path / "out")
    assert worker.calls.count("prepare") == worker.lives == 3
    assert not [point for point in frontier.points if point.status == "failed"]
    assert_same_scores(tmp_path / "out", local[0])


def test_a_point_whose_worker_dies_three_times_fails_with_that_reason(sweep, tmp_path):
    worker = MortalWorker(dies_at=[6, 8, 10])  # prepare, make, score, make, score; make; prepare, make; prepare, make
    frontier = run_with(worker, sweep, tmp_path / "out")
    (failed,) = [point for point in frontier.points if point.status == "failed"]
    assert "died 3 times" in failed.reason
    assert "node here" in failed.reason


def test_a_point_is_given_back_while_its_worker_has_no_place_and_taken_up_later(sweep, local, tmp_path, monkeypatch):
    monkeypatch.setattr("mergekit_calib.sweep.scoring_loop._PAUSE", 0.0)
    worker = MortalWorker(homeless=[1, 2, 7])
    frontier = run_with(worker, sweep, tmp_path / "out")
    assert not [point for point in frontier.points if point.status == "failed"]
    assert_same_scores(tmp_path / "out", local[0])


def test_a_worker_gives_its_point_back_and_up_if_no_place_comes_for_long(sweep, tmp_path):
    with pytest.raises(ScorerLostError, match="room"):
        run_with(MortalWorker(homeless=range(100)), sweep, tmp_path / "out", patience=Patience(place=0.0, give_up=0.0))
    assert not list((tmp_path / "out" / "calibration" / ".workers").glob("*.claim"))


CONTENT = NodeContent({"m": {"model.safetensors": "a"}}, [{"entry": {"task": "t"}, "documents": "d"}], {"lm-eval": "1"})


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (replace(CONTENT, files={"m": {"model.safetensors": "b"}}), "node here: m: model.safetensors"),
        (replace(CONTENT, files={"m": {}}), "model.safetensors is missing"),
        (replace(CONTENT, packages={"lm-eval": "2"}), "node here has lm-eval 2, the driver has 1"),
        (replace(CONTENT, packages={}), "lm-eval not"),
        (replace(CONTENT, suite=[{"entry": {"task": "t"}, "documents": "e"}]), "suite entry t: its documents"),
    ],
)
def test_a_node_that_has_other_files_packages_or_documents_is_refused_by_name(other, named):
    with pytest.raises(ScorerRefusedError, match=named):
        CONTENT.check(other, "node here")


def test_another_build_of_torch_is_a_note():
    driver, node = (replace(CONTENT, packages={"torch": f"2.13.0+{build}"}) for build in ("cpu", "cu130"))
    assert "2.13.0+cu130" in driver.check(node, "node here")[0]


def test_the_run_stops_before_a_point_is_scored_on_a_node_with_other_files(sweep, tmp_path):
    with pytest.raises(ScorerRefusedError, match=r"model\.safetensors is not"):
        run_with(MortalWorker(), sweep, tmp_path / "out", content=_with_another_byte(sweep, tmp_path))
    assert scores_in(tmp_path / "out") == {}


def _with_another_byte(sweep, folder):
    from mergekit_calib.sweep.preflight import prepare

    content = content_here(prepare(sweep, folder / "other", OPTIONS))
    model = sweep.models[1]
    return replace(content, files={**content.files, model: {**content.files[model], "model.safetensors": "0" * 64}})


def test_without_ray_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(CalibError, match=r'pip install "mergekit-calib\[ray\]"'):
        RayCluster("auto")


def nodes(*resources):
    return [NodeResources(f"n{i}", cpus, gpus) for i, (cpus, gpus) in enumerate(resources)]


@pytest.mark.parametrize(
    ("resources", "gpus", "wanted", "places"),
    [
        ([(16, 8), (16, 8), (4, 0)], 1, None, Places(16, 1, 2)),
        ([(16, 8), (16, 8)], 4, None, Places(4, 4, 8)),
        ([(16, 8), (8, 1)], 2, 3, Places(3, 2, 4)),
        ([(0, 1)], 1, None, Places(1, 1, 0)),
        ([(16, 0), (16, 0)], 1, None, Places(2, 0, 16)),
        ([(16, 0), (16, 0)], 1, 5, Places(5, 0, 5)),
        ([(1, 0), (1, 0)], 1, 2, Places(2, 0, 1)),
    ],
)
def test_workers_take_gpus_and_their_share_of_the_cpus(resources, gpus, wanted, places):
    assert places_for_workers(nodes(*resources), gpus, wanted) == places


@pytest.mark.parametrize(
    ("resources", "gpus", "wanted", "named"),
    [
        ([(8, 1), (8, 1)], 2, None, "gpus_per_worker.*has 1"),
        ([(8, 0)], 2, None, "the cluster has none"),
        ([(2, 0)], 1, 3, "2 CPUs: too few for 3 workers"),
        ([], 1, None, "0 CPUs"),
    ],
)
def test_a_cluster_without_room_for_the_workers_is_refused(resources, gpus, wanted, named):
    with pytest.raises(CalibError, match=named):
        places_for_workers(nodes(*resources), gpus, wanted)
