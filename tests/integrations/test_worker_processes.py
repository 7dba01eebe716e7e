"""Several workers under one supervisor: the result of one process, whatever dies meanwhile, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from mergekit.options import MergeOptions

from helpers.prepared_sweeps import short_form
from mergekit_calib.demo import sweep_yaml
from mergekit_calib.errors import CalibError
from mergekit_calib.integrations.worker_crew import WorkerCrew
from mergekit_calib.integrations.worker_shares import cores, gpu_shares, worker_environments
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.recipe import dump_recipe, parse_sweep
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.storage.locks import Claims
from mergekit_calib.sweep.coordinator import run_sweep
from mergekit_calib.sweep.crew import Ended

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
CANNOT_START = {**ONE_THREAD, "PYTHONHOME": "/nowhere"}


def crew(text: str, out: Path, *environments: dict[str, str], tell=print) -> WorkerCrew:
    return WorkerCrew(text, "sweep.yml", str(out), MergeOptions(quiet=True).model_dump(mode="json"), environments, tell)


def run(text: str, out: Path, of: WorkerCrew | None = None) -> Frontier:
    register()
    sweep = parse_sweep(text, registered_signatures(), "sweep.yml")
    return run_sweep(sweep, out, MergeOptions(quiet=True), crew=of)


def numbers(frontier: Frontier) -> dict[str, list[float]]:
    """Return point → its value in each objective and its Brier score."""
    return {
        p.id: [*(p.estimate(o).value for o in frontier.objectives), p.metrics["suite"]["brier"]["selection"].value]
        for p in frontier.complete_points
    }


def test_two_workers_give_the_result_of_one_process_and_do_not_need_a_third_that_always_dies(
    make_model, task, tmp_path, caplog
):
    block = {"axes": {"lambda": [0.25, 0.5, 0.75, 1.25]}, "suite": [task], "n_resamples": 100}
    text = dump_recipe(
        {
            **short_form(make_model(seed=0), make_model(seed=1)),
            "calibration": {**block, "model_args": {"dtype": "float32"}},
        }
    )
    alone = run(text, tmp_path / "alone")
    shared = run(text, tmp_path / "shared", crew(text, tmp_path / "shared", ONE_THREAD, ONE_THREAD, CANNOT_START))
    assert shared.finished
    assert {p.status for p in shared.points} == {"complete"}
    assert shared.selected.id == alone.selected.id
    assert shared.selected.digest == alone.selected.digest
    assert numbers(shared).keys() == numbers(alone).keys()
    for point, values in numbers(alone).items():
        assert numbers(shared)[point] == pytest.approx(values, abs=1e-5)
    assert [r.message for r in caplog.records if "worker 3" in r.message and r.levelname == "WARNING"] == [
        "worker 3 ended with status 1; it is started again (1 of 2)",
        "worker 3 ended with status 1; it is started again (2 of 2)",
        "worker 3 ended with status 1 for the third time; it is not started again",
    ]


def test_if_every_worker_dies_the_sweep_stops_and_says_so(tmp_path):
    with pytest.raises(CalibError, match=r"every worker died \(worker 1 ended with status 1\)"):
        list(crew("", tmp_path, CANNOT_START).work(False, _Silent()))


def test_a_mistake_that_a_worker_finds_stops_all_of_them(tmp_path):
    with pytest.raises(CalibError, match=r"sweep\.yml"):
        list(crew("merge_method: [", tmp_path, ONE_THREAD).work(False, _Silent()))


def test_a_reason_that_stops_every_parent_stops_the_sweep(make_model, task, tmp_path):
    block = {"axes": {"lambda": [0.5]}, "suite": [task]}
    text = dump_recipe({**short_form(make_model(seed=0), make_model(seed=1)), "calibration": block})
    register()
    sweep = parse_sweep(text, registered_signatures(), "sweep.yml")

    class Failing:
        size, scores_here = 2, False

        def work(self, streams: bool, progress: object) -> Iterator[Ended]:
            for parent in sweep.parents():
                yield Ended(parent.id, "CalibError: this tokenizer has no vocabulary")

    with pytest.raises(CalibError, match="this tokenizer has no vocabulary"):
        run_sweep(sweep, tmp_path / "out", MergeOptions(quiet=True), crew=Failing())


class _Silent:
    def of_worker(self, number: int) -> _Silent:
        return self

    def concluding(self) -> None:
        pass


@pytest.fixture
def command(tmp_path) -> Iterator[subprocess.Popen[str]]:
    """Return the command `sweep … --workers 2` on the demo pair, started."""
    text = sweep_yaml().replace("{min: 0.0, max: 1.5}", "[0.25, 0.5, 0.75, 1.25, 1.5]")
    text = text.replace("- calib_demo ", "- {task: calib_demo, limit: 1500}  ")
    (tmp_path / "sweep.yml").write_text(text)
    arguments = ["sweep", "sweep.yml", "out", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mergekit_calib", *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def printed_until(process: subprocess.Popen[str], pattern: str) -> str:
    """Return what the process prints up to a line that has the pattern."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.search(pattern, line):
            return "".join(lines)
    raise AssertionError("".join(lines))


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return sorted((child for child in children if child.status() != "zombie"), key=lambda child: child.create_time())


def test_a_killed_worker_is_started_again_and_an_interrupt_stops_them_all(command, tmp_path):
    printed = printed_until(command, r"merging and scoring \(worker 1\)")
    doomed, other = workers_of(command)
    doomed.send_signal(signal.SIGKILL)
    printed += printed_until(command, r"worker 1 was killed by SIGKILL .*; it is started again \(1 of 2\)")
    printed += printed_until(command, r"acc 0\.\d+ ")
    workers = workers_of(command)
    assert len(workers) == 2
    assert other in workers
    command.send_signal(signal.SIGINT)
    rest, _ = command.communicate(timeout=120)
    printed += rest
    assert command.returncode == 130
    kept = re.search(r"Stopped: (\d) of 7 points kept; the same command goes on", rest)
    assert kept, printed
    assert not any(worker.is_running() for worker in workers)

    stored = {path.name.rpartition("-")[0] for path in (tmp_path / "out/calibration/items").glob("*.parquet")}
    assert len(stored) >= int(kept[1]) >= 1
    begun = re.findall(r"  (\S.*): merging and scoring", printed)
    assert all(begun.count(point) <= 2 for point in begun)
    assert sum(begun.count(point) == 2 for point in set(begun)) <= 1  # the point of the killed worker, no other
    with Claims(tmp_path / "out/calibration/.workers") as claims:
        names = [path.stem for path in claims.folder.glob("*.claim")]
        assert not any(claims.is_held(name) for name in names)


SUPERVISOR = """
import json, os, sys
from mergekit_calib.integrations.worker_crew import WorkerCrew
from mergekit_calib.results.events import Progress
crew = WorkerCrew("", None, sys.argv[1], {}, [dict(OMP_NUM_THREADS="1")] * 2, print)
steps = crew.work(False, Progress())
next(steps)  # they are started, and importing
import psutil
print(json.dumps([child.pid for child in psutil.Process().children()]), flush=True)
input()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_a_killed_supervisor_leaves_no_worker(tmp_path):
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout is not None
    workers = [psutil.Process(pid) for pid in json.loads(supervisor.stdout.readline())]
    assert len(workers) == 2
    supervisor.kill()
    supervisor.communicate()
    deadline = time.monotonic() + 60
    while any(worker.is_running() and worker.status() != "zombie" for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_each_worker_gets_its_part_of_the_visible_gpus():
    assert gpu_shares(None, 4, 1) == ["0", "1", "2", "3"]
    assert gpu_shares(None, 5, 2) == ["0,1", "2,3"]
    assert gpu_shares("6, 3,1", 3, 1) == ["6", "3", "1"]
    assert gpu_shares("GPU-a,MIG-b,GPU-c,GPU-d", 4, 2) == ["GPU-a,MIG-b", "GPU-c,GPU-d"]
    assert gpu_shares("0,-1,2", 1, 1) == ["0"]  # CUDA takes no entry after one that names no GPU
    assert gpu_shares("", 0, 1) == []


def test_auto_is_a_worker_for_each_share_of_the_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,5,2,0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    cuda = torch.device("cuda")
    shares = [[own["CUDA_VISIBLE_DEVICES"] for own in worker_environments(n, 2, cuda)] for n in ("auto", 2, 1)]
    assert shares == [["7,5", "2,0"], ["7,5", "2,0"], ["7,5"]]
    with pytest.raises(CalibError, match="workers: 3 with gpus_per_worker: 2 needs 6 GPUs, and 4 are visible"):
        worker_environments(3, 2, cuda)
    with pytest.raises(CalibError, match="gpus_per_worker: 8, but 4 GPUs are visible"):
        worker_environments("auto", 8, cuda)
    with pytest.raises(CalibError, match="cuda:1, but each worker gets GPUs of its own"):
        worker_environments(2, 1, torch.device("cuda:1"))


def test_workers_on_a_cpu_share_the_cores():
    cpu = torch.device("cpu")
    assert len(worker_environments("auto", 1, cpu)) == 1
    for n in (1, 2, 3 * cores()):
        own = worker_environments(n, 1, cpu)
        assert own == [{key: str(max(1, cores() // n)) for key in ONE_THREAD}] * n
