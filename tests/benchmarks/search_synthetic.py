"""Compare every search strategy on fronts whose true hypervolume is known, with the noise of 500 and of 5,000 items.

    python tests/benchmarks/search_synthetic.py [--seeds 20] [--out configs/results] [--cache .search_synthetic]

It takes some twenty minutes of a core. The fronts are those of ZDT1 (convex), ZDT2 (concave) and ZDT3 (disconnected;
Zitzler, Deb, Thiele 2000), over four axes with the optimum of three of them inside their ranges, and a curve over one
axis that is like accuracy and calibration error along λ. A strategy sees values with noise. Its result is the true
hypervolume of the points that it would report (those non-dominated by the values that it saw), as a share of the true
front's. Finished searches are kept in the cache and not run again, so a command that was stopped goes on.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from mergekit_calib import pareto
from mergekit_calib.recipe.axes import read_axis
from mergekit_calib.search import STRATEGIES, Evaluated, Study
from mergekit_calib.search.evaluation import Evaluation
from mergekit_calib.storage.atomic import write_text_atomic

DIRECTIONS: list[pareto.Direction] = ["minimize", "minimize"]
REFERENCE = np.array([1.1, 1.1])
STEPS = 16  # values of an axis, for `grid`


@dataclass(frozen=True)
class Problem:
    """A function of some axes with two objectives.

    Attributes:
        name: its name in the table.
        values: (n_axes,) in 0 to 1 → (2,) both to be minimised; on the front both lie about in 0 to 1.
        n_axes: the number of axes.
        budget: the number of points of a search.
        strategies: the strategies that can search it.
    """

    name: str
    values: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    n_axes: int
    budget: int
    strategies: tuple[str, ...]

    def best(self) -> float:
        """Return the hypervolume of the true front."""
        if self.n_axes == 1:
            front = np.array([self.values(np.array([x])) for x in np.linspace(0, 1, 4001)])
        else:
            inside = np.full(self.n_axes - 1, OPTIMUM)
            front = np.array([self.values(np.array([x, *inside])) for x in np.linspace(0, 1, 4001)])
        return pareto.hypervolume(front, DIRECTIONS, REFERENCE)


OPTIMUM = 0.35


def zdt(height: Callable[[float], float]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return a ZDT problem whose front is the curve of `height` over the first objective."""

    def values(x: NDArray[np.float64]) -> NDArray[np.float64]:
        g = 1.0 + 4.0 * float(np.mean((x[1:] - OPTIMUM) ** 2) / 0.2)
        return np.array([x[0], g * height(x[0] / g)])

    return values


def along_lambda(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return error rate, least at λ = 0.7 of 0 to 1.5, and calibration error, least at λ = 0.15; both scaled."""
    lambda_ = 1.5 * float(x[0])
    return np.array([0.1 + 0.9 * (lambda_ - 0.7) ** 2, 0.1 + 0.75 * abs(lambda_ - 0.15) ** 1.2])


WIDE = ("random", "evolve", "bayesian")
PROBLEMS = [
    Problem("convex", zdt(lambda f: 1 - np.sqrt(f)), 4, 24, WIDE),
    Problem("concave", zdt(lambda f: 1 - f**2), 4, 24, WIDE),
    Problem("disconnected", zdt(lambda f: 1 - np.sqrt(f) - f * np.sin(10 * np.pi * f)), 4, 24, WIDE),
    Problem("one axis", along_lambda, 1, 16, ("grid", "adaptive", *WIDE)),
]


def search(problem: Problem, strategy: str, n_items: int, seed: int, folder: Path) -> list[float]:
    """Run one search, and return the share of the true front's hypervolume after each point."""
    step = {"start": 0.0, "stop": 1.0, "step": round(1 / (STEPS - 1), 10)}
    axis = step if strategy == "grid" else {"min": 0.0, "max": 1.0}
    axes = {f"x_{i}": read_axis(axis) for i in range(1, problem.n_axes + 1)}
    study = Study(folder / f"{problem.name}-{strategy}-{n_items}-{seed}.log", "s", axes, DIRECTIONS, seed=seed)
    asked = STRATEGIES[strategy]()
    rng = np.random.default_rng([seed, n_items])
    error = 0.45 / np.sqrt(n_items / 2)  # of an accuracy near 0.7 on the selection split
    # In a sweep, the worse parent in each objective is known, and no strategy need search beyond it.
    study.parent_evaluations.append(Evaluation(REFERENCE, np.tile(REFERENCE, (200, 1))))
    whole, truths, shares = problem.best(), [], list[float]()
    for _ in range(problem.budget):
        if (proposal := asked.ask(study)) is None:
            break
        truth = problem.values(np.array([float(proposal.setting[name]) for name in axes]))
        seen = truth + rng.normal(0, error, 2)
        evaluation = Evaluation(seen, seen + rng.normal(0, error, (200, 2)))
        study.name_point(proposal.number, str(proposal.number))
        study.tell(proposal.number, evaluation)
        study.evaluated.append(Evaluated(proposal.setting, evaluation))
        truths.append(truth)
        reported = pareto.non_dominated(np.array([point.evaluation.values for point in study.evaluated]), DIRECTIONS)
        shares.append(pareto.hypervolume(np.array(truths)[reported], DIRECTIONS, REFERENCE) / whole)
    return shares + [shares[-1]] * (problem.budget - len(shares))


def run(seeds: int, cache: Path) -> pd.DataFrame:
    """Return a row for each front, strategy, number of items, seed and number of points."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for problem in PROBLEMS:
            for strategy in problem.strategies:
                for n_items in (500, 5000):
                    began, ends = time.monotonic(), []
                    for seed in range(seeds):
                        kept = cache / f"{problem.name}-{strategy}-{n_items}-{seed}.json"
                        if not kept.exists():
                            write_text_atomic(kept, json.dumps(search(problem, strategy, n_items, seed, Path(name))))
                        shares = json.loads(kept.read_text())
                        ends.append(shares[-1])
                        rows += [(problem.name, strategy, n_items, seed, i + 1, s) for i, s in enumerate(shares)]
                    took = time.monotonic() - began
                    click.echo(f"{problem.name:<14}{strategy:<10}{n_items:>6}{np.mean(ends):>8.3f}{took:>8.1f} s")
    return pd.DataFrame(rows, columns=["front", "strategy", "items", "seed", "points", "share"])


def table(results: pd.DataFrame) -> str:
    """Return a Markdown table of the mean share at a quarter, half and all of the budget, and of wins over `random`."""
    lines = ["| front | items | strategy | ¼ of the budget | ½ | all | seeds above `random` at the end |"]
    lines.append("| --- | --: | --- | --: | --: | --: | --: |")
    for problem in PROBLEMS:
        for n_items in (500, 5000):
            part = results[(results.front == problem.name) & (results["items"] == n_items)]
            ends = part[part.points == problem.budget].set_index(["strategy", "seed"]).share
            for strategy in problem.strategies:
                mine = part[part.strategy == strategy].groupby("points").share.mean()
                at = [mine[max(1, round(problem.budget * share))] for share in (0.25, 0.5, 1.0)]
                above = (ends[strategy] > ends["random"]).sum()
                beats = "" if strategy == "random" else f"{above} of {len(ends[strategy])}"
                cells = [problem.name, str(n_items), f"`{strategy}`", *(f"{100 * x:.1f} %" for x in at), beats]
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def figure(results: pd.DataFrame) -> Figure:
    """Draw the mean share over points, with the range of 80 % of the seeds."""
    drawn = Figure(figsize=(11, 5.4), layout="constrained")
    panels = drawn.subplots(2, len(PROBLEMS), sharey="col", squeeze=False)
    colours = {
        "random": "#8a8a8a",
        "grid": "#c9a227",
        "adaptive": "#b5533c",
        "evolve": "#3b7a57",
        "bayesian": "#2f5d9b",
    }
    for column, problem in enumerate(PROBLEMS):
        for row, n_items in enumerate((500, 5000)):
            axes = panels[row, column]
            for strategy in problem.strategies:
                part = results[(results.front == problem.name) & (results["items"] == n_items)]
                shares = part[part.strategy == strategy].pivot(index="points", columns="seed", values="share")
                middle = shares.mean(axis=1)
                low, high = shares.quantile(0.1, axis=1), shares.quantile(0.9, axis=1)
                axes.plot(middle.index, middle, color=colours[strategy], label=strategy, linewidth=1.6)
                axes.fill_between(middle.index, low, high, color=colours[strategy], alpha=0.12, linewidth=0)
            axes.set_title(f"{problem.name}, {n_items:,} items", fontsize=10)
            axes.set_ylim(0.0 if problem.n_axes > 1 else 0.7, 1.01)
            axes.spines[["top", "right"]].set_visible(False)
            if row:
                axes.set_xlabel("points")
    drawn.legend(
        handles=[Line2D([], [], color=colour, label=name) for name, colour in colours.items()],
        loc="outside upper center",
        ncols=len(colours),
        frameon=False,
    )
    panels[0, 0].set_ylabel("share of the front's hypervolume")
    panels[1, 0].set_ylabel("share of the front's hypervolume")
    return drawn


@click.command(help=__doc__.partition("\n\n")[0])
@click.option("--seeds", default=20, show_default=True, help="Runs of each strategy on each front.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("configs/results"), show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default=Path(".search_synthetic"), show_default=True)
def main(seeds: int, out: Path, cache: Path) -> None:
    results = run(seeds, cache)
    out.mkdir(parents=True, exist_ok=True)
    (out / "search_synthetic.md").write_text(table(results), encoding="utf-8")
    figure(results).savefig(out / "search_synthetic.png", dpi=130)
    click.echo(table(results))


if __name__ == "__main__":
    main()
