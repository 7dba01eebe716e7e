"""Compare `search: {strategy: curve}` with a grid of 21 points: what it predicts, what it scores, what it chooses.

    python tests/benchmarks/curve.py OUT [--real PAIR] [--only NAME]

PAIR is the folder that `make_real_pair.py` wrote. For each case, a grid and a curve are swept into OUT; sweeps that are
there go on, or are read. A case of the demo takes four minutes of a core, the real pair half an hour. Each case gets a
picture in OUT. Cases:

- the demo's 5,000 items, λ from 0 to 1.5, by `linear`, `slerp`, `ties` and `dare_ties` (density 0.5);
- the real pair on 400 questions of ARC-Easy, λ from 0 to 2, by `linear`.

Errors are those of the values that the curve's points predict at each point of the grid that the curve did not score,
against what the grid scored there, in bootstrap standard errors of the scored value, on all items. Evenly spaced points
of the same number, taken from the grid, are the comparison.

The choices are compared on the held-out split by paired differences with 95 % intervals.

Spot checks: at each of these λ, the scores of a random tenth of the items correct the predicted mean (a difference
estimator: predicted mean plus the mean error of the tenth). The table has the standard error of the corrected mean in
standard errors of full scoring, and how often its 95 % interval covers what full scoring gives, over 200 tenths.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mergekit.options import MergeOptions
from numpy.typing import NDArray

from mergekit_calib.analysis.estimation import Estimator
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.items.store import ItemStore, Tables
from mergekit_calib.recipe import dump_recipe
from mergekit_calib.report.figures import drawing
from mergekit_calib.results.frontier import Frontier, Objective
from mergekit_calib.search.surrogate.interpolation import ItemCurves
from mergekit_calib.storage.atomic import write_text_atomic
from mergekit_calib.sweep.coordinator import run_sweep

FloatArray = NDArray[np.float64]

METRICS = ("brier", "nll", "acc", "ece")
MEANS = ("brier", "nll", "acc")  # metrics that are means over items
N_GRID = 21
N_TENTHS = 200


@dataclass(frozen=True)
class Case:
    """A pair, a merge method and a range of λ.

    Attributes:
        method: mergekit's name of the merge method, and its parameters.
        suite: the suite of the sweep.
        high: the largest λ; the least is 0.
        folder: the folder that holds base and aligned.
    """

    method: dict[str, Any]
    suite: list[Any]
    high: float
    folder: Path

    def recipe(self, lambdas: dict[str, float]) -> dict[str, Any]:
        """Return the recipe of a sweep over `lambdas`."""
        return {
            "merge_method": "calibration_sweep",
            "base_model": str(self.folder / "base"),
            "models": [{"model": str(self.folder / "aligned")}],
            "parameters": self.method,
            "dtype": "bfloat16",
            "calibration": {
                "axes": {"lambda": lambdas},
                "suite": self.suite,
                "objectives": ["acc", "ece"],
                "model_args": {"dtype": "float32"},
            },
        }


def cases(real: Path | None) -> dict[str, Case]:
    """Return the cases by name, those of the demo first."""
    demo, density = Path("mergekit_calib/demo"), {"density": 0.5}
    methods = [("linear", {}), ("slerp", {}), ("ties", density), ("dare_ties", density)]
    found = {f"demo, {name}": Case({"method": name, **more}, ["calib_demo"], 1.5, demo) for name, more in methods}
    if real is not None:
        suite = [{"task": "arc_easy", "limit": 400}]
        found["real pair, linear"] = Case({"method": "linear"}, suite, 2.0, real.resolve())
    return found


def swept(recipe: dict[str, Any], out: Path) -> Frontier:
    """Run a sweep, or go on with it, and return its result."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "recipe.yml"
    write_text_atomic(path, dump_recipe(recipe))
    return run_sweep(path, out / "run", MergeOptions(quiet=True))


def scores_of(out: Path, frontier: Frontier) -> dict[float, Tables]:
    """Return λ → item scores, of every scored point on the axis."""
    run = out / "run" / "calibration"
    keys = yaml.safe_load((run / "sweep.yml").read_text(encoding="utf-8"))["points"]
    scores = {}
    for point in frontier.complete_points:
        stored = ItemStore(run / "items").load(keys[point.id]) if "lambda" in point.axes else None
        if stored is not None:
            scores[float(point.axes["lambda"])] = stored.tables
    return scores


def errors(estimator: Estimator, scored: dict[float, Tables], truth: dict[float, Tables]) -> FloatArray:
    """Return the errors of what `scored` predicts at the λ of `truth`, in standard errors: (n_values, n_metrics)."""
    curves = ItemCurves.through(list(scored), list(scored.values()))
    found = []
    for value, tables in truth.items():
        measured = estimator.bootstrap(tables, ["all"])["suite"]["all"]
        predicted = estimator.statistics.by_scope(curves.at(value), "all", lambda table, metric: True)["suite"]
        found.append(
            [(predicted[m].statistic.value() - measured[m].value) / measured[m].standard_error for m in METRICS]
        )
    return np.abs(found)


def rows_of(name: str, grid: Frontier, curve: Frontier, out: Path) -> list[str]:
    """Return the table's rows of one case: the curve's points, and as many even ones."""
    assert curve.predicted is not None
    at = {p.id: float(p.axes["lambda"]) for p in curve.complete_points if "lambda" in p.axes}
    of_curve, of_grid = scores_of(out / "curve", curve), scores_of(out / "grid", grid)
    estimator = Estimator(BUILT_IN, None, level=0.95, n_resamples=1000, n_bins=15, seed=0)
    truth = {value: tables for value, tables in of_grid.items() if value not in at.values()}
    even = [list(of_grid)[i] for i in np.linspace(0, len(of_grid) - 1, len(of_curve)).round().astype(int)]
    rest = {value: tables for value, tables in of_grid.items() if value not in even}
    lines = []
    for label, predicted, points in (
        (f"{len(of_curve)} scored", errors(estimator, of_curve, truth), len(curve.complete_points)),
        (f"{len(even)} even", errors(estimator, {v: of_grid[v] for v in even}, rest), None),
    ):
        largest = [
            f"{typical:.2f}, {most:.2f}" for typical, most in zip(_rms(predicted), predicted.max(0), strict=True)
        ]
        lines.append(f"| {name} | {label} | {points or ''} | {' | '.join(largest)} |")
    return lines


def spot_checks(name: str, grid: Frontier, curve: Frontier, out: Path) -> str:
    """Return the table's row on predictions that a tenth of the items corrects."""
    assert curve.predicted is not None
    at = {p.id: float(p.axes["lambda"]) for p in curve.complete_points if "lambda" in p.axes}
    of_curve = scores_of(out / "curve", curve)
    estimator = Estimator(BUILT_IN, None, level=0.95, n_resamples=100, n_bins=15, seed=0)
    curves = ItemCurves.through(
        [at[n] for n in curve.predicted.nodes], [of_curve[at[n]] for n in curve.predicted.nodes]
    )
    rng, widths, covered = np.random.default_rng(0), [], []
    for value, tables in scores_of(out / "grid", grid).items():
        if value in at.values():
            continue
        scored, predicted = (estimator.bootstrap(each, ["all"])["suite"]["all"] for each in (tables, curves.at(value)))
        for metric in MEANS:
            mine, theirs = predicted[metric].contributions, scored[metric].contributions
            assert mine is not None
            assert theirs is not None
            wrong, n = theirs - mine, len(mine)
            drawn = np.array([wrong[rng.choice(n, n // 10, replace=False)] for _ in range(N_TENTHS)])
            error = drawn.std(axis=1, ddof=1) * np.sqrt((1 - 0.1) / (n // 10))
            covered.append((np.abs(drawn.mean(axis=1) - wrong.mean()) <= 1.96 * error).mean())
            widths.append(error.mean() / scored[metric].standard_error)
    per_metric = np.array(widths).reshape(-1, len(MEANS)).mean(axis=0)
    share = np.array(covered).reshape(-1, len(MEANS)).mean(axis=0)
    cells = [f"{width:.2f}, {100 * part:.0f} %" for width, part in zip(per_metric, share, strict=True)]
    return f"| {name} | {' | '.join(cells)} |"


def choice_of(name: str, grid: Frontier, curve: Frontier, out: Path) -> str:
    """Return the table's row on the two choices: their values of λ, and their differences on the held-out split."""
    assert grid.selected is not None
    assert curve.selected is not None
    estimator = Estimator(BUILT_IN, None, level=0.95, n_resamples=1000, n_bins=15, seed=0)
    results = []
    for sweep, frontier in (("curve", curve), ("grid", grid)):
        tables = scores_of(out / sweep, frontier)[float(frontier.selected.axes["lambda"])]  # type: ignore[union-attr]
        results.append(estimator.bootstrap(tables, ["held_out"])["suite"]["held_out"])
    cells = []
    for metric in METRICS:
        mine, theirs = (result[metric] for result in results)
        low, high = np.quantile(mine.replicates - theirs.replicates, [0.025, 0.975])
        cells.append(f"{mine.value - theirs.value:+.4f} [{low:+.4f}, {high:+.4f}]")
    names = [str(frontier.selected.name) for frontier in (curve, grid)]  # type: ignore[union-attr]
    return f"| {name} | {names[0]} | {names[1]} | {' | '.join(cells)} |"


def picture(name: str, grid: Frontier, curve: Frontier) -> Figure:
    """Return the metrics along λ on all items: predicted line, scored points with intervals, the grid beside them."""
    assert curve.predicted is not None
    with drawing.style():
        figure = Figure(figsize=(6.8, 4.2), layout="constrained")
        panels = figure.subplots(2, 2, sharex=True).ravel()
        for panel, metric in zip(panels, METRICS, strict=True):
            line = curve.predicted.metrics["suite"][metric]["all"]
            panel.plot(curve.predicted.values, line, color=drawing.INK, linewidth=0.9, label="predicted")
            objective = Objective(metric=metric, direction="minimize")
            _scored(panel, grid, objective, "grid of 21, scored", color="#888888", markersize=5, fillstyle="none")
            _scored(panel, curve, objective, "scored by curve", color=drawing.OVER, markersize=3.5)
            panel.set_ylabel(metric)
        for panel in panels[2:]:
            panel.set_xlabel("λ")
        panels[0].set_title(f"{name}: {len(curve.predicted.nodes)} nodes of {len(curve.complete_points)} scored points")
        panels[1].legend(frameon=False, fontsize=7)
    return figure


def _scored(panel: Axes, frontier: Frontier, objective: Objective, label: str, **look: Any) -> None:
    points = [(float(p.axes["lambda"]), p.estimate(objective, "all").value) for p in frontier.complete_points if p.axes]
    xs, ys = zip(*points, strict=True)
    panel.plot(xs, ys, marker="o", linestyle="", label=label, **look)


def _rms(values: FloatArray) -> FloatArray:
    root: FloatArray = np.sqrt(np.mean(np.square(values), axis=0))
    return root


@click.command(help=__doc__.partition("\n\n")[0])
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--real", type=click.Path(exists=True, path_type=Path), help="The folder of the real pair.")
@click.option("--only", help="Run only the cases whose names contain this.")
def main(out: Path, real: Path | None, only: str | None) -> None:
    points, choices, checks = [], [], []
    for name, case in cases(real).items():
        if only and only not in name:
            continue
        folder = out / name.replace(", ", "_").replace(" ", "_")
        step = case.high / (N_GRID - 1)
        grid = swept(case.recipe({"start": 0.0, "stop": case.high, "step": step}), folder / "grid")
        curve = swept(case.recipe({"min": 0.0, "max": case.high}), folder / "curve")
        points += rows_of(name, grid, curve, folder)
        choices.append(choice_of(name, grid, curve, folder))
        (out / f"{folder.name}.png").write_bytes(drawing.render(picture(name, grid, curve)))
        checks.append(spot_checks(name, grid, curve, folder))
        click.echo("\n".join([*points[-2:], choices[-1], checks[-1]]))
    head = ["Errors in standard errors, root mean square and largest:", ""]
    head += [f"| case | predicted from | points in all | {' | '.join(METRICS)} |", f"| --- | --- | --: |{' --: |' * 4}"]
    both = ["", "The curve's choice against the grid's, held-out split:", ""]
    both += [f"| case | curve | grid | {' | '.join(METRICS)} |", f"| --- | --- | --- |{' --- |' * 4}"]
    spots = ["", "Corrected by a tenth of the items, standard error and coverage:", ""]
    spots += [f"| case | {' | '.join(MEANS)} |", f"| --- |{' --- |' * len(MEANS)}"]
    text = "\n".join([*head, *points, *both, *choices, *spots, *checks])
    write_text_atomic(out / "curve.md", text + "\n")
    click.echo(text)


if __name__ == "__main__":
    main()
