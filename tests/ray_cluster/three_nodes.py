"""A Ray cluster of three nodes on this machine, each with one GPU that is not there, and drivers that use it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from mergekit_calib.items.store import ItemStore, StoredPoint
from mergekit_calib.recipe import dump_recipe
from mergekit_calib.results.frontier import Frontier

DRIVER = Path(__file__).parent / "driver.py"
GRID = [0.2, 0.4, 0.6, 0.8, 1.2]


def recipe_of(base: object, aligned: object, **block: Any) -> str:
    calibration = {
        "axes": {"lambda": GRID},
        "suite": [{"task": "calib_demo", "limit": 2000}],
        "model_args": {"dtype": "float32"},
        **block,
    }
    models = [{"model": str(aligned)}]
    return dump_recipe(
        {"merge_method": "calibration_sweep", "base_model": str(base), "models": models, "calibration": calibration}
    )


@dataclass
class Run:
    """A sweep in a process of its own."""

    out: Path
    process: subprocess.Popen[str]

    def wait(self, seconds: float = 400) -> tuple[int, str]:
        said, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode, said

    @property
    def scored(self) -> dict[str, StoredPoint]:
        store = ItemStore(self.out / "calibration" / "items")
        keys = store.keys()
        points = [store.load(key) for key in keys]
        return {point.id: point for point in points if point is not None}

    @property
    def frontier(self) -> Frontier:
        return Frontier.load(self.out)

    def wait_for(self, is_so: Callable[[], Any], seconds: float = 300) -> Any:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := is_so():
                return found
            assert self.process.poll() is None, self.wait()
            time.sleep(0.02)
        raise AssertionError("it did not happen in time")


class ThreeNodes:
    """The cluster; its processes are children of this one."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0, **SMALL})
        self.nodes = [self.add() for _ in range(3)]

    @property
    def address(self) -> str:
        return self.cluster.address

    def add(self, **options: Any) -> Any:
        return self.cluster.add_node(num_cpus=1, num_gpus=1, **SMALL, **options)

    def actors(self, title: str = "ray::RayActor") -> list[psutil.Process]:
        """Return the processes of workers; with `ray::RayActor.do`, those that are at work."""
        found = []
        for process in psutil.Process().children(recursive=True):
            try:
                if (process.cmdline() or [""])[0].startswith(title):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def node_of(self, actor: psutil.Process) -> Any:
        raylets = {node.all_processes["raylet"][0].process.pid: node for node in self.nodes}
        return next((raylets[p.pid] for p in actor.parents() if p.pid in raylets), None)

    def remove(self, node: Any) -> None:
        self.nodes.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)

    def run(self, recipe: str, out: Path, seconds: float = 5.0) -> Run:
        out.parent.mkdir(parents=True, exist_ok=True)
        file = out.with_suffix(".yml")
        file.write_text(recipe)
        return start([str(DRIVER), str(file), str(out), self.address, str(seconds)], out)


SMALL = {"object_store_memory": 80 << 20, "include_dashboard": False}


def start(arguments: list[str], out: Path) -> Run:
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return Run(out, process)
