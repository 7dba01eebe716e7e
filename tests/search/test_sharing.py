"""Idle workers score shares of another worker's point; the point's scores are those of one worker."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import yaml

from mergekit_calib.items.store import ItemStore
from mergekit_calib.items.table import choice_table
from mergekit_calib.recipe import Point, dump_recipe
from mergekit_calib.search.shares import cut
from mergekit_calib.search.sharing import Sharing
from mergekit_calib.storage.locks import Claims, exclusive

POINT = Point("lambda=0.5", {"lambda": 0.5}, {})
SIZES = {"a": 100, "b": 60, "sampled": 7}

WITH_HELP = """
import sys, time
from pathlib import Path
from mergekit.options import MergeOptions
from mergekit_calib.integrations.recipe_runner import run_source
from mergekit_calib.search import shares
from mergekit_calib.search.driver import Search
from mergekit_calib.search.sharing import Sharing
score, finish = Search.score, Sharing.finish

def when_another_is_idle(self, point, digest, score_all):
    while point.role is None and not self._claims.n_held("idle-"):
        time.sleep(0.05)

    def slowly(documents):
        time.sleep(1.0 if documents else 0.0)
        return score_all(documents)

    return score(self, point, digest, slowly)

def noted(self, share, digest, tables):
    with open(sys.argv[3], "a") as log:
        print(share.point.id, file=log)
    finish(self, share, digest, tables)

shares._FEWEST_DOCUMENTS = 2
Search.score, Sharing.finish = when_another_is_idle, noted
sys.exit(run_source(open(sys.argv[1]).read(), sys.argv[2], MergeOptions(quiet=True), sys.argv[1]))
"""


def table_of(task: str, numbers: list[int]):
    table = choice_table([[-float(i), -1.0] for i in numbers], [[0]] * len(numbers))
    return replace(table, task=task, doc_ids=np.array(numbers))


def scorer(log: list[dict[str, list[int]] | None]):
    def score(documents):
        log.append(documents)
        wanted = documents or {task: list(range(n)) for task, n in SIZES.items()}
        return {"entry": [table_of(task, numbers) for task, numbers in sorted(wanted.items())]}

    return score


@pytest.fixture
def worker(tmp_path):
    """Make the sharing of one worker after another, in one folder."""
    started: list[Claims] = []

    def make() -> Sharing:
        started.append(Claims(tmp_path / "claims").__enter__())
        return Sharing(tmp_path / "shares", started[-1], tmp_path / "lock", SIZES, ["a", "b"])

    yield make
    for claims in started:
        claims.__exit__(None, None, None)


def test_without_an_idle_worker_a_point_is_scored_at_once(worker, tmp_path):
    asked: list = []
    worker(), worker()
    worker().score(POINT, "k" * 16, "digest", scorer(asked))
    assert asked == [None]
    assert not (tmp_path / "shares").exists()


def test_an_idle_worker_scores_shares_and_none_is_scored_twice(worker, tmp_path):
    own, other = worker(), worker()
    with exclusive(tmp_path / "lock"):
        other.set_idle(True)
    asked: list = []
    helped: list = []
    begun = threading.Event()

    def slowly(documents):
        begun.set()
        helper.join(30)
        return scorer(asked)(documents)

    def help_once():
        begun.wait(30)
        with exclusive(tmp_path / "lock"):
            share = other.next([("k" * 16, POINT)])
        other.finish(share, "digest", scorer(helped)(share.documents))

    helper = threading.Thread(target=help_once)
    helper.start()
    tables = own.score(POINT, "k" * 16, "digest", slowly)
    assert len(helped) == 1
    assert "sampled" not in helped[0]
    assert sum(len(numbers) for part in [*asked, *helped] for numbers in part.values()) == sum(SIZES.values())
    (whole,) = tables.values()
    assert {table.task: table.doc_ids.tolist() for table in whole} == {t: list(range(n)) for t, n in SIZES.items()}
    own.remove(POINT, "k" * 16)
    assert not (tmp_path / "shares").exists()


def test_shares_of_a_worker_that_died_are_kept_and_those_given_up_are_taken_by_the_points_own_worker(worker, tmp_path):
    dead, idle, heir = worker(), worker(), worker()
    with exclusive(tmp_path / "lock"):
        idle.set_idle(True)

    def dies(documents):
        if asked:
            raise KeyboardInterrupt
        return scorer(asked)(documents)

    asked: list = []
    with pytest.raises(KeyboardInterrupt):
        dead.score(POINT, "k" * 16, "digest", dies)
    with exclusive(tmp_path / "lock"):
        share = idle.next([("k" * 16, POINT)])
    with pytest.raises(ValueError, match="not those"):
        idle.finish(share, "another digest", {})
    idle.give_up(share)
    with exclusive(tmp_path / "lock"):
        other = idle.next([("k" * 16, POINT)])
    assert other.key != share.key
    idle.give_up(other)
    heir.score(POINT, "k" * 16, "digest", scorer(asked))
    assert sum(len(numbers) for part in asked for numbers in part.values()) == sum(SIZES.values())


@pytest.mark.parametrize(
    ("divisible", "n_workers", "n_shares"),
    [({"a": 1000}, 1, 1), ({"a": 40}, 8, 1), ({"a": 1000}, 4, 8), ({f"t{i}": 50 + i for i in range(57)}, 3, 6)],
    ids=["one worker", "few documents", "one task", "many tasks"],
)
def test_shares_are_about_equal_and_together_the_whole(divisible, n_workers, n_shares):
    parts = cut(divisible, n_workers, {"sampled": 9})
    assert len(parts) == n_shares
    assert [part for part in parts if "sampled" in part] == parts[:1]
    rows = [(task, i) for part in parts for task, numbers in part.items() for i in numbers]
    assert sorted(rows) == sorted((task, i) for task, n in {**divisible, "sampled": 9}.items() for i in range(n))
    sizes = [sum(len(numbers) for task, numbers in part.items() if task != "sampled") for part in parts]
    assert max(sizes) - min(sizes) <= 60  # a task of the many
    if len(divisible) > 1:  # whole tasks
        assert all(len(numbers) == divisible.get(task, 9) for part in parts for task, numbers in part.items())


def test_a_sweep_whose_points_are_shared_has_the_scores_of_one_worker(recipe_with, run, tmp_path):
    recipe = tmp_path / "sweep.yml"
    recipe.write_text(dump_recipe(recipe_with({"lambda": [0.5]}, "grid")))

    command = [sys.executable, "-c", WITH_HELP, recipe, tmp_path / "shared", tmp_path / "helped"]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(2)]
    outputs = [worker.communicate(timeout=240)[0].decode() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    assert not any("warning" in output for output in outputs)
    assert "lambda=0.5" in (tmp_path / "helped").read_text().split()
    run(yaml.safe_load(recipe.read_text()), tmp_path / "alone")
    shared, alone = (
        {point.id: point.tables for key, _ in store.described() if (point := store.load(key))}
        for store in (ItemStore(tmp_path / out / "calibration" / "items") for out in ("shared", "alone"))
    )
    assert shared.keys() == alone.keys()
    for point in alone:
        for entry in alone[point]:
            for one, other in zip(alone[point][entry], shared[point][entry], strict=True):
                assert one.doc_hashes == other.doc_hashes
                np.testing.assert_allclose(one.log_likelihoods, other.log_likelihoods, atol=1e-5)
    assert not (tmp_path / "shared" / "calibration" / "items" / "shares").exists()
