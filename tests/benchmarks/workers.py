"""Measure the scoring time of two one-thread workers against one worker with one thread, and with all cores.

    python tests/benchmarks/workers.py

It sweeps a part of the demo (16 points) with each in turns, in new processes, and prints a table in Markdown.
The time is that from the start of the first point to the end of the last one, so without reading the recipe, loading
libraries and drawing the report, but with the requests that each worker builds once. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mergekit.options import MergeOptions

from mergekit_calib.demo import sweep_yaml
from mergekit_calib.integrations.worker_crew import WorkerCrew
from mergekit_calib.integrations.worker_shares import cores
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.recipe import parse_sweep
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier, PointResult
from mergekit_calib.sweep.coordinator import run_sweep

# Name → number of workers, threads of each.
SETTINGS = {
    "one worker, 1 thread": (1, 1),
    "two workers, 1 thread each": (2, 1),
    f"one worker, {cores()} threads": (1, cores()),
}
VALUES = [round(0.1 * i, 1) for i in range(1, 16) if i != 10]  # λ = 0 and 1 are the parents


class Clock(Progress):
    """Notes when the first point begins and the last one ends."""

    began: float | None = None
    ended = 0.0

    def point_started(self, point_id: str) -> None:
        self.began = self.began or time.perf_counter()

    def point_finished(self, point: PointResult, frontier: Frontier) -> None:
        self.ended = time.perf_counter()


def sweep_once(workers: int, threads: int, limit: int) -> tuple[float, float]:
    """Return the seconds of scoring, and those within points of all workers together.

    `OMP_NUM_THREADS` must be `threads` already if there is one worker.
    """
    text = sweep_yaml().replace("{min: 0.0, max: 1.5}", str(VALUES))
    text = text.replace("- calib_demo ", f"- {{task: calib_demo, limit: {limit}}}  ")
    options, clock = MergeOptions(quiet=True), Clock()
    register()
    sweep = parse_sweep(text, registered_signatures(), "demo.yml")
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out")
        own = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        as_json = options.model_dump(mode="json")
        crew = WorkerCrew(text, "demo.yml", out, as_json, [own] * workers, print) if workers > 1 else None
        frontier = run_sweep(sweep, out, options, clock, crew)
    assert len(frontier.complete_points) == len(VALUES) + 2
    assert clock.began is not None
    return clock.ended - clock.began, sum(sum(point.seconds.values()) for point in frontier.complete_points)


def measured(workers: int, threads: int, limit: int) -> tuple[float, float]:
    """Return `sweep_once` of a new process."""
    command = [sys.executable, __file__, "--once", str(workers), str(threads), "--limit", str(limit)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    whole, in_points = json.loads(done.stdout.splitlines()[-1])
    return whole, in_points


def main() -> None:
    """Measure each setting in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=1500, help="number of items of each point")
    parser.add_argument("--once", type=int, nargs=2, metavar=("WORKERS", "THREADS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(sweep_once(*options.once, options.limit)))
        return
    seconds: dict[str, list[float]] = {name: [] for name in SETTINGS}
    in_points: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for i in range(options.rounds):
        for name in [*SETTINGS][:: 1 if i % 2 == 0 else -1]:
            whole, points = measured(*SETTINGS[name], options.limit)
            seconds[name].append(whole)
            in_points[name].append(points)
            print(f"round {i + 1}, {name}: {seconds[name][-1]:.1f} s", file=sys.stderr)
    first = next(iter(seconds.values()))
    print(f"{len(VALUES) + 2} points of {options.limit:,} items, {options.rounds} rounds, {cores()} cores:\n")
    heads = ("", "seconds of each round", "median", "ratio to one thread, median", "in points, all workers, median")
    print(f"| {' | '.join(heads)} |\n| --- | --- | --: | --: | --: |")
    for name, of in seconds.items():
        ratio = statistics.median(one / reference for one, reference in zip(of, first, strict=True))
        listed = ", ".join(f"{one:.1f}" for one in of)
        points = statistics.median(in_points[name])
        print(f"| {name} | {listed} | {statistics.median(of):.1f} | {ratio:.2f} | {points:.1f} |")


if __name__ == "__main__":
    main()
