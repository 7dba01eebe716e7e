"""Simulate searches by 1, 8 and 64 workers: the real search, study, strategies and claims, with a simulated clock.

    python tests/benchmarks/simulate_workers.py [--seeds 3] [--only curve --only grid]

It takes some five minutes of a core, and prints a Markdown table. No model is run: a point's item scores are computed,
and scoring takes as long as was measured (`COSTS`). What the search itself computes, under its lock or not, takes the
processor time that it takes here; item files are kept in memory, and reading, writing and evaluating one takes as long
as was measured at the beginning.

The frontier counts as found once the points scored so far have 90 % of the hypervolume of a dense grid, above the
parents' lower accuracy and below their larger ECE, both by 10,000 other items of the same kind. `curve` predicts the
frontier between its points, so for it that is the end of the search. A worker is idle when it neither starts, merges
nor scores: it has no point, waits for the lock, or waits for a proposal.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does

from helpers.simulated_search import OBJECTIVES, Costs, Run, World, measured, simulate
from mergekit_calib import pareto
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.search.evaluation import Evaluator

WORKERS = (1, 8, 64)
N_ITEMS = 1000
N_JUDGED = 10_000
ENOUGH = 0.9  # of the dense grid's hypervolume

# "Speed" in tests/benchmarks/README.md: a point of the real pair on 192 questions of MMLU takes 8.6 s with two threads,
# and 30 s are spent once. Merging is counted as half a second of that.
COSTS = Costs(start=30.0, merge=0.5, document=(8.6 - 0.5) / 192, noise=0.05)

RANGE = {"min": 0.0, "max": 1.5}
ONE_AXIS: dict[str, Any] = {"lambda": RANGE}
TWO_AXES: dict[str, Any] = {"self_attn": RANGE, "mlp": RANGE}


@dataclass(frozen=True)
class Case:
    """A search: its name in the table, axes, `search:` as in a recipe, and the values of an axis in the dense grid."""

    name: str
    axes: dict[str, Any]
    search: dict[str, Any]
    dense: int


GRIDS = ({"start": 0.0, "stop": 1.5, "step": 0.075}, {"start": 0.0, "stop": 1.5, "step": 0.25})
CASES = (
    Case("one λ: `grid` of 21", {"lambda": GRIDS[0]}, {"strategy": "grid"}, 151),
    Case("one λ: `curve`", ONE_AXIS, {"strategy": "curve"}, 151),
    Case("one λ: `adaptive`", ONE_AXIS, {"strategy": "adaptive"}, 151),
    Case("two λ: `grid` of 7 × 7", dict.fromkeys(TWO_AXES, GRIDS[1]), {"strategy": "grid"}, 21),
    Case("two λ: `random`", TWO_AXES, {"strategy": "random", "points": 64}, 21),
    Case("two λ: `random`, racing", TWO_AXES, {"strategy": "random", "points": 64, "racing": True}, 21),
    Case("two λ: `evolve`", TWO_AXES, {"strategy": "evolve", "points": 64}, 21),
    Case("two λ: `bayesian`", TWO_AXES, {"strategy": "bayesian", "points": 64}, 21),
)


class Judge:
    """Tells how much of a world's frontier some points have.

    Args:
        axes: their names.
        dense: number of values of each axis in the dense grid.
    """

    def __init__(self, axes: Sequence[str], dense: int) -> None:
        self._world = world = World(dict.fromkeys(axes, RANGE), N_JUDGED, seed=10**6)
        self._known: dict[str, np.ndarray] = {}
        self._evaluator = Evaluator(OBJECTIVES, BUILT_IN, 15, 0)
        self._directions = [objective.direction for objective in OBJECTIVES]
        parents = np.array([self._values(parent.axes) for parent in world.parents])
        self._reference = np.array([parents[:, 0].min(), parents[:, 1].max()])
        steps = np.linspace(0.0, 1.5, dense)
        grid = [
            dict(zip(world.axes, values, strict=True)) for values in itertools.product(steps, repeat=len(world.axes))
        ]
        self._best = self._volume([self._values(setting) for setting in grid])

    def seconds_to_frontier(self, run: Run) -> float:
        """Return when the points scored so far had enough of the frontier; infinity if they never had."""
        seen = []
        for scored in run.scored:
            if not scored.stopped:
                seen.append(self._values(scored.point.axes))
                if self._volume(seen) >= ENOUGH * self._best:
                    return scored.at
        return np.inf

    def _values(self, setting: Any) -> np.ndarray:
        if (name := str(setting)) not in self._known:
            self._known[name] = self._evaluator.evaluate(self._world.answers(setting)).values
        return self._known[name]

    def _volume(self, values: list[np.ndarray]) -> float:
        return pareto.hypervolume(np.array(values), self._directions, self._reference)


@cache
def _judge(axes: tuple[str, ...], dense: int) -> Judge:
    return Judge(axes, dense)


def rows(case: Case, seeds: int, costs: Costs) -> list[str]:
    """Return the lines of the table for one search, one for each number of workers."""
    worlds = [World(case.axes, N_ITEMS, seed) for seed in range(seeds)]
    judge = _judge(tuple(case.axes), case.dense)
    is_predicted = case.search["strategy"] == "curve"
    lines = []
    for n_workers in WORKERS:
        runs = []
        for seed, world in enumerate(worlds):
            with tempfile.TemporaryDirectory() as name:
                runs.append(simulate(world, {**case.search, "seed": seed}, n_workers, Path(name), costs))
        found = [run.seconds if is_predicted else judge.seconds_to_frontier(run) for run in runs]
        n_found = sum(np.isfinite(found))
        cells = [
            case.name,
            str(n_workers),
            f"{median(found):.0f} s" if np.isfinite(median(found)) else "–",
            f"{n_found} of {seeds}",
            f"{median(run.seconds for run in runs):.0f} s",
            f"{100 * median(run.idle_share for run in runs):.0f} %",
            f"{100 * median(run.locked_out / (n_workers * run.seconds) for run in runs):.0f} %",
            f"{median(len(run.scored) for run in runs):.0f}",
            f"{median(sum(point.n_items for point in run.scored) for run in runs):,.0f}",
            f"{median(on_paper(run, costs) for run in runs):.0f} s",
        ]
        lines.append("| " + " | ".join(cells) + " |")
        click.echo(lines[-1])
    return lines


def on_paper(run: Run, costs: Costs) -> float:
    """Return the least time of the same points one after another, each with its items split among all workers."""
    items = sum(point.n_items for point in run.scored)
    return costs.start + len(run.scored) * costs.merge + items * costs.document / run.n_workers


@click.command(help=__doc__.partition("\n\n")[0])
@click.option("--seeds", default=3, show_default=True, help="Worlds, each with documents of its own.")
@click.option("--only", multiple=True, help="Only searches whose names contain this; can be given several times.")
def main(seeds: int, only: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as name:
        costs = measured(World(ONE_AXIS, N_ITEMS, 0), COSTS, Path(name))
    click.echo(
        f"Measured here: a point's items written in {1000 * costs.save:.0f} ms, read in {1000 * costs.load:.0f} ms, "
        f"evaluated in {1000 * costs.evaluate:.1f} ms.\n"
    )
    click.echo(
        "| search | workers | to the frontier | found in | all | idle | of it, for the lock | points "
        "| item evaluations | all, items split (on paper) |"
    )
    click.echo("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |")
    for case in CASES:
        if not only or any(part in case.name for part in only):
            rows(case, seeds, costs)


if __name__ == "__main__":
    main()
