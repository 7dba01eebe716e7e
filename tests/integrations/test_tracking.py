"""Sweeps logged to the real trackers without network; each in its own process, since the libraries keep state."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.report_factory import make_frontier
from mergekit_calib.errors import CalibError
from mergekit_calib.integrations.trackers import TRACKERS, TrackedProgress

TESTS = Path(__file__).parents[1]
RUN = """
import logging, sys
from helpers.report_factory import make_frontier
from mergekit_calib.integrations.trackers import TrackedProgress

class Failing(logging.Handler):
    def emit(self, record):
        raise AssertionError(record.getMessage())

logging.getLogger("mergekit_calib").addHandler(Failing(logging.WARNING))  # a tracker that failed logs a warning
frontier = make_frontier(failed=("lambda=0.3",))
progress = TrackedProgress(sys.argv[1], sys.argv[2])
progress.started(frontier.model_copy(update={"points": []}), 5)
for point in frontier.points:
    progress.point_finished(point, frontier)
progress.finished(frontier)
"""


def python(program: str, *arguments: str, cwd: Path, **environment: str) -> str:
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_trackio_logs_one_step_for_each_point_and_the_choice(tmp_path: Path) -> None:
    here = {"TRACKIO_DIR": str(tmp_path / "trackio")}
    python(RUN, "trackio", str(tmp_path / "my-sweep"), cwd=tmp_path, **here)
    read = """
import json
from trackio.sqlite_storage import SQLiteStorage
print("READ" + json.dumps(SQLiteStorage.get_logs("mergekit-calib", "my-sweep")))
"""
    logs = json.loads(python(read, cwd=tmp_path, **here).split("READ")[1])
    frontier = make_frontier(failed=("lambda=0.3",))
    assert len(logs) == len(frontier.points) + 1
    for point, log in zip(frontier.points, logs, strict=False):
        assert log["axis/lambda"] == point.axes["lambda"]
        value = point.estimate(frontier.objectives[1]).value
        assert log.get("suite/ece") == (pytest.approx(value) if value is not None else None)
    assert [log["sweep/points"] for log in logs[:-1]] == [1, 2, 3, 4, 5]
    assert logs[-2]["sweep/failed"] == 1
    assert frontier.selected is not None
    assert logs[-1]["chosen/axis/lambda"] == frontier.selected.axes["lambda"]


def test_wandb_keeps_the_run_offline(tmp_path: Path) -> None:
    (tmp_path / "wandb").mkdir()
    offline = {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}
    python(RUN, "wandb", str(tmp_path / "my-sweep"), cwd=tmp_path, **offline)
    (kept,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    read = """
import json, struct, sys
from wandb.proto import wandb_internal_pb2
data, at, whole, steps = open(sys.argv[1], "rb").read(), 7, b"", []  # LevelDB's log format, after a header of 7 bytes
while at + 7 <= len(data):
    if 32768 - at % 32768 < 7:
        at += 32768 - at % 32768
        continue
    _, length, kind = struct.unpack("<IHB", data[at : at + 7])
    whole += data[at + 7 : at + 7 + length]
    at += 7 + length
    if kind in (1, 4):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(whole)
        whole = b""
        if record.history.item:
            items = record.history.item
            steps.append({i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items})
print("READ" + json.dumps(steps))
"""
    steps = json.loads(python(read, str(kept), cwd=tmp_path).split("READ")[1])
    assert [step["axis/lambda"] for step in steps] == [0.0, 0.3, 0.6, 1.0, 1.3]
    assert "suite/ece" not in steps[1]
    assert 0 < steps[2]["suite/ece"] < 1


def test_an_unknown_tracker_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        CalibError, match=r"no tracker 'trakio'.*did you mean 'trackio'.*the trackers are trackio, wandb"
    ):
        TrackedProgress("trakio", tmp_path)


def test_a_library_that_is_missing_is_named_with_its_extra(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(CalibError, match=r"pip install mergekit-calib\[wandb\]"):
        TrackedProgress("wandb", tmp_path)


def test_a_sweep_goes_on_with_a_warning_if_its_tracker_fails(tmp_path: Path, monkeypatch, caplog) -> None:
    class Broken:
        n_calls = 0

        def start(self, *_: object) -> None:
            Broken.n_calls += 1
            raise ConnectionError("no route")

    monkeypatch.setitem(TRACKERS, "broken", Broken)
    frontier = make_frontier()
    progress = TrackedProgress("broken", tmp_path)
    progress.started(frontier, 5)
    progress.point_finished(frontier.points[0], frontier)
    progress.finished(frontier)
    assert Broken.n_calls == 1
    assert "broken failed and is not used again; the sweep goes on: no route" in caplog.text
