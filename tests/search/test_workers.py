"""Several processes on one study: they share the points, and a killed one loses only the point that it was scoring."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable

import pytest

from mergekit_calib.merging.weights_digest import digest_of
from mergekit_calib.recipe import dump_recipe
from mergekit_calib.recipe.axes import read_axis
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.search.study import Study
from mergekit_calib.storage.locks import Claims, exclusive

HOLD = """
import sys, time
from pathlib import Path
from mergekit_calib.storage.locks import Claims
with Claims(Path(sys.argv[1])) as claims:
    print(claims.take("point"), flush=True)
    time.sleep(60)
"""

SLOWLY = """
import sys, time
from pathlib import Path
from mergekit.options import MergeOptions
from mergekit_calib.integrations.recipe_runner import run_source
from mergekit_calib.search.driver import Search
score = Search.score

def slow(self, point, digest, score_all):
    with open(sys.argv[4], "a") as log:  # what a sweep prints goes to its run log
        print(point.id, file=log)
    time.sleep(float(sys.argv[3]))
    while not all(Path(other).exists() for other in sys.argv[5:]):  # wait until the others have begun too
        time.sleep(0.05)
    return score(self, point, digest, score_all)

Search.score = slow
text = open(sys.argv[1]).read()
sys.exit(run_source(text, sys.argv[2], MergeOptions(quiet=True), sys.argv[1]))
"""


def python(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_claim_ends_with_its_process(tmp_path):
    holder = python(HOLD, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    with Claims(tmp_path) as claims:
        assert claims.is_held("point")
        assert not claims.take("point")
        kill(holder)
        assert not claims.is_held("point")
        assert claims.take("point")
        assert claims.is_held("point")
        claims.release("point")
        assert not claims.is_held("point")


def test_a_claim_from_another_machine_counts_until_its_heartbeats_stop(tmp_path):
    claim = tmp_path / "point.claim"
    claim.write_text("some-other-machine")  # on a shared folder whose locks do not reach here
    with Claims(tmp_path) as claims:
        assert claims.is_held("point")
        os.utime(claim, (time.time() - 3600, time.time() - 3600))
        assert not claims.is_held("point")


def test_an_exclusive_lock_ends_with_its_process(tmp_path):
    script = "import sys, time; from pathlib import Path; from mergekit_calib.storage.locks import exclusive\n"
    script += "with exclusive(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    holder = python(script, tmp_path / "lock")
    assert holder.stdout is not None
    holder.stdout.readline()
    kill(holder)
    with exclusive(tmp_path / "lock"):
        pass


GRID = {"start": 0.0, "stop": 1.75, "step": 0.25}


@pytest.mark.parametrize(
    ("axis", "search", "n_points"),
    [(GRID, "grid", 6), (GRID, {"strategy": "random", "points": 5}, 5), ({"min": 0.0, "max": 1.75}, "curve", None)],
    ids=["grid", "random", "curve"],
)
def test_processes_share_the_points_and_take_over_those_of_a_killed_one(recipe_with, tmp_path, axis, search, n_points):
    axes = {"lambda": axis}
    (tmp_path / "sweep.yml").write_text(dump_recipe(recipe_with(axes, search)))
    out = tmp_path / "out"
    items = out / "calibration" / "items"

    logs = [tmp_path / name for name in ("doomed", "first", "second")]
    doomed = python(SLOWLY, tmp_path / "sweep.yml", out, 1000, logs[0])
    wait_for(lambda: doomed.poll() is not None or (logs[0].exists() and logs[0].read_text().endswith("\n")))
    lost = logs[0].read_text().strip()
    workers = [python(SLOWLY, tmp_path / "sweep.yml", out, 0.2, log, *logs[1:]) for log in logs[1:]]
    wait_for(lambda: len(list(items.glob("*.parquet"))) >= 2)
    assert not list(items.glob(f"{lost}-*"))
    kill(doomed)
    outputs = [worker.communicate(timeout=240) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs

    begun = [log.read_text().split() for log in logs[1:]]
    counts = Counter(point for points in begun for point in points)
    frontier = Frontier.load(out)
    assert frontier.finished
    assert {p.status for p in frontier.points} == {"complete"}
    assert counts == Counter(p.id for p in frontier.points)  # each by one of the two, the lost one too
    assert all(begun)
    assert n_points is None or len([p for p in frontier.points if p.role is None]) == n_points
    assert (frontier.predicted is not None) == (search == "curve")
    assert digest_of(out) == frontier.selected.digest
    assert not list((out / "calibration").rglob("*.claim"))


def test_a_point_whose_worker_died_is_listed_as_lost(tmp_path):
    study = Study(tmp_path / "study.log", "s", {"x": read_axis([1, 2])}, ["maximize"], session="a")
    proposal = study.start({"x": 1})
    study.name_point(proposal.number, "k" * 16)
    again = Study(tmp_path / "study.log", "s", {"x": read_axis([1, 2])}, ["maximize"], session="a")
    assert again.running == [{"x": 1}]
    again.fail(proposal.number, None)
    assert again.lost == [{"x": 1}]
    assert again.n_proposed == 0
