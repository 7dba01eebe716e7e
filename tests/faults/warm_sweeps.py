"""Small sweeps for fault tests: each run is a process that is forked from one which has imported everything."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_TESTS = Path(__file__).resolve().parents[1]
_VOLATILE = {
    "created",
    "seconds",
    "reused",
    "name",
    "checksum",
}  # of `frontier.json`: what may differ between two equal runs
_PATIENCE = 300.0  # seconds; on a busy machine everything takes long


@dataclass(frozen=True)
class Ended:
    """A run that ended.

    Attributes:
        status: its exit status; negative for a signal.
        says: what it printed.
        scored: the ids of the points that it ran a model for, in order.
    """

    status: int
    says: str
    scored: list[str]

    @property
    def lines(self) -> list[str]:
        """The lines of the error that ended it, if a `CalibError` did."""
        _, _, error = self.says.partition("CalibError: ")
        return error.strip().splitlines()


class Run:
    """A run that was started.

    Args:
        folder: the folder that the server describes it in.
        server: the process that forks.
    """

    def __init__(self, folder: Path, server: subprocess.Popen[str]) -> None:
        self.folder, self._server = folder, server

    @property
    def pid(self) -> int:
        """The id of its process."""
        self._wait_for("pid")
        return int((self.folder / "pid").read_text())

    @property
    def scored(self) -> list[str]:
        """The ids of the points that it ran a model for, so far."""
        log = self.folder / "scored"
        return log.read_text().split() if log.exists() else []

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return (self.folder / "status").exists()

    @property
    def is_stopped(self) -> bool:
        """Whether it waits for a signal."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def wait_until_stopped(self) -> None:
        """Wait until the run stops itself.

        Raises:
            AssertionError: it ended before.
        """
        while not self.is_stopped:
            assert not self.is_over, self.wait().says
            time.sleep(0.02)

    def kill(self) -> Ended:
        """Kill it, and return how it ended."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self) -> Ended:
        """Wait until it has ended, and return how."""
        self._wait_for("status")
        status = int((self.folder / "status").read_text())
        says = self.folder / "says"
        return Ended(status, says.read_text(errors="replace") if says.exists() else "", self.scored)

    def _wait_for(self, name: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not (self.folder / name).exists():
            assert self._server.poll() is None, "the process that forks has ended; its standard error says why"
            assert time.monotonic() < deadline, f"{self.folder / name} does not come"
            time.sleep(0.02)


class WarmSweeps:
    """Starts runs; `warm_sweeps` makes one.

    Attributes:
        folder: for the runs' descriptions, and whatever a test keeps.
        recipe: a sweep of two parents and two more points.

    Args:
        folder: as the attribute.
        server: the process that forks.
    """

    def __init__(self, folder: Path, server: subprocess.Popen[str]) -> None:
        self.folder, self._server = folder, server
        self.recipe = folder / "sweep.yml"
        self._count = 0

    def start(self, out: Path, recipe: Path | None = None, **fault: Any) -> Run:
        """Start a run into `out`, in which something goes wrong (`warm_server`)."""
        self._count += 1
        description = self.folder / f"run-{self._count}"
        description.mkdir()
        request = {"recipe": str(recipe or self.recipe), "out": str(out), "folder": str(description), "fault": fault}
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return Run(description, self._server)

    def run(self, out: Path, recipe: Path | None = None, **fault: Any) -> Ended:
        """Run a sweep into `out`, and return how it ended."""
        return self.start(out, recipe, **fault).wait()

    def write_recipe(self, name: str, **block: Any) -> Path:
        """Write a recipe like `recipe`, with other keys in its `calibration:` block, and return its path."""
        recipe = yaml.safe_load(self.recipe.read_text())
        recipe["calibration"] |= block
        path = self.folder / name
        path.write_text(yaml.safe_dump(recipe))
        return path


@contextmanager
def warm_sweeps(folder: Path) -> Iterator[WarmSweeps]:
    """Make two small models, a small task and a recipe in `folder`, and start the process that forks runs."""
    from helpers.checkpoints import save_checkpoint

    for seed in (0, 1):
        (folder / f"model-{seed}").mkdir()
        save_checkpoint(folder / f"model-{seed}", "llama", seed, "bfloat16", "5GB", None)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(folder / "datasets"),
        "PYTHONPATH": os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, str(_TESTS / "faults" / "warm_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=environment, cwd=folder) as server:
        sweeps = WarmSweeps(folder, server)
        sweeps.recipe.write_text(yaml.safe_dump(_recipe(folder)))
        assert sweeps.run(folder / "first", **{"warms up": True}).status == 0
        try:
            yield sweeps
        finally:
            assert server.stdin is not None
            server.stdin.close()


def whole_points(out: Path) -> set[str]:
    """Return the ids of the points whose item tables are whole, by the names of the files alone."""
    files = (out / "calibration" / "items").glob("*.parquet")
    return {path.name.rpartition("-")[0] for path in files if not path.name.endswith(".part.parquet")}


def result(out: Path) -> dict[str, Any]:
    """Return everything that two equal runs have in common: the numbers, the model's bytes, the names of all files."""
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    model = {n: _hash(out / n) for n in names if "/" not in n and n != "README.md"}
    frontier = json.loads((out / "calibration" / "frontier.json").read_text())
    return {"frontier": _settled(frontier), "model": model, "names": names}


def _settled(part: Any) -> Any:
    """Return a part of `frontier.json` without what differs between two equal runs."""
    if isinstance(part, dict):
        return {key: _settled(value) for key, value in part.items() if key not in _VOLATILE}
    return [_settled(each) for each in part] if isinstance(part, list) else part


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _recipe(folder: Path) -> dict[str, Any]:
    words = [f"w{i}" for i in range(4, 64)]
    rows = []
    for i in range(16):
        some = [words[(7 * i + 11 * j) % len(words)] for j in range(5)]
        rows.append({"question": " ".join(some[:2]), "choices": some[2:], "answer": i % 3})
    (folder / "made_up.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    task = {
        "task": "made_up",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "made_up.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1},
    }
    (folder / "made_up.yaml").write_text(yaml.safe_dump(task))
    return {
        "merge_method": "calibration_sweep",
        "base_model": str(folder / "model-0"),
        "models": [{"model": str(folder / "model-1")}],
        "dtype": "bfloat16",
        "calibration": {
            "axes": {"lambda": [0.0, 0.5, 1.0, 1.5]},
            "suite": [str(folder / "made_up.yaml")],
            "model_args": {"dtype": "float32"},
            "n_resamples": 100,
        },
    }
