"""Compare searches on a real pair: `adaptive` with a grid of 21 points, and a λ for each block of layers with one λ.

    python tests/benchmarks/search_real.py pair/base pair/aligned out/    # some 45 minutes on 2 CPU cores
    python tests/benchmarks/search_real.py --demo out/                    # the same on the embedded pair, in minutes

Points are chosen on questions of ARC-Easy's train split and reported on questions of its validation split. A point of
the grid's frontier counts as found by `adaptive` if one of its own points lies within that point's interval in every
objective, on the validation split. The search over blocks gets as many item evaluations as the grid took. A second
command with the same arguments joins as a second worker, and a command that was stopped goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import lm_eval.tasks
import yaml
from mergekit.options import MergeOptions

from mergekit_calib import run_sweep
from mergekit_calib.demo import __file__ as demo_module
from mergekit_calib.recipe import dump_recipe
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier, PointResult
from mergekit_calib.storage.atomic import write_text_atomic

_GRID = {"start": 0.0, "stop": 2.0, "step": 0.1}
_RANGE = {"min": 0.0, "max": 2.0}


class PointPrinter(Progress):
    """Prints a line for each finished point."""

    def point_finished(self, result: PointResult, frontier: Frontier) -> None:
        seconds = sum(result.seconds.values())
        click.echo(f"  {result.name}: {result.status}, {seconds:.0f} s")


def write_task(split: str, folder: Path) -> str:
    """Write lm-eval's `arc_easy` with the questions of another split, and return the file's path."""
    original = Path(lm_eval.tasks.__file__).parent / "arc" / "arc_easy.yaml"
    path = folder / f"arc_easy_{split}.yaml"
    write_text_atomic(path, yaml.safe_dump({"include": str(original), "task": path.stem, "test_split": split}))
    return str(path)


def run(name: str, axis: Any, search: Any, parents: tuple[str, str], suite: list[Any], out: Path) -> Frontier:
    """Run one search in a folder of its own, and return its frontier."""
    recipe = {
        "merge_method": "calibration_sweep",
        "base_model": parents[0],
        "models": [{"model": parents[1]}],
        "dtype": "bfloat16",
        "calibration": {
            "axes": {"lambda": axis},
            "search": search,
            "suite": suite,
            "objectives": ["acc", "ece"],
            "model_args": {"dtype": "float32"},
        },
    }
    click.echo(name)
    path = out / f"{name}.yml"
    write_text_atomic(path, dump_recipe(recipe))
    return run_sweep(path, out / name, MergeOptions(quiet=True), PointPrinter())


def evaluations(frontier: Frontier) -> int:
    """Return the number of items scored; no point of these searches is stopped early."""
    return len(frontier.complete_points) * sum(entry.n_items for entry in frontier.suite)


def covered(grid: Frontier, adaptive: Frontier) -> dict[str, bool]:
    """Return for each point of the grid's frontier whether a point of `adaptive` lies within its intervals."""

    def lies_within(mine: PointResult, theirs: PointResult) -> bool:
        estimates = [(mine.estimate(o), theirs.estimate(o)) for o in grid.objectives]
        return all(t.low <= m.value <= t.high for m, t in estimates)  # type: ignore[operator]

    on_frontier = [point for point in grid.complete_points if point.on_frontier["held_out"]]
    return {point.name: any(lies_within(p, point) for p in adaptive.complete_points) for point in on_frontier}


def report(grid: Frontier, adaptive: Frontier, blocks: Frontier) -> str:
    """Return a Markdown table of the searches' costs and results, and a sentence on what `adaptive` found."""
    lines = ["| | points | item evaluations | hypervolume on the held-out split | chosen: acc, ECE |"]
    lines.append("| --- | --: | --: | --- | --- |")
    for name, frontier in (("grid, one λ", grid), ("`adaptive`, one λ", adaptive), ("`bayesian`, λ by blocks", blocks)):
        assert frontier.uncertainty is not None
        assert frontier.selected is not None
        volume = frontier.uncertainty.hypervolume
        chosen = [f"{frontier.selected.estimate(o).value:.3f}" for o in frontier.objectives]
        cells = [name, str(len(frontier.complete_points)), f"{evaluations(frontier):,}"]
        cells.append(f"{volume.value:.5f} [{volume.low:.5f}, {volume.high:.5f}]")
        cells.append(f"{frontier.selected.name}: {', '.join(chosen)}")
        lines.append("| " + " | ".join(cells) + " |")
    is_covered = covered(grid, adaptive)
    missed = [name for name, near in is_covered.items() if not near]
    lines.append("")
    lines.append(
        f"`adaptive` took {100 * evaluations(adaptive) / evaluations(grid):.0f} % of the grid's item evaluations and "
        f"found {len(is_covered) - len(missed)} of the {len(is_covered)} points of its frontier within their intervals"
        + (f"; not {', '.join(missed)}." if missed else ".")
    )
    return "\n".join(lines) + "\n"


@click.command(help=__doc__.partition("\n\n")[0])
@click.argument("folders", nargs=-1, required=True)
@click.option("--demo", is_flag=True, help="Use the embedded pair; then give only the output folder.")
@click.option("--train", default=300, show_default=True, help="Questions of the train split, to choose on.")
@click.option("--validation", default=200, show_default=True, help="Questions of the validation split, to report.")
@click.option("--blocks", default=3, show_default=True, help="Number of blocks of layers.")
def main(folders: tuple[str, ...], demo: bool, train: int, validation: int, blocks: int) -> None:
    if len(folders) != (1 if demo else 3):
        raise click.UsageError("name base, aligned and an output folder; with --demo the output folder alone")
    out = Path(folders[-1])
    out.mkdir(parents=True, exist_ok=True)
    suite: list[Any]
    if demo:
        embedded = Path(demo_module).parent
        parents = (str(embedded / "base"), str(embedded / "aligned"))
        suite = [{"task": "calib_demo", "limit": train + validation}]
    else:
        parents = (folders[0], folders[1])
        suite = [
            {"task": write_task("train", out), "limit": train, "split": "selection"},
            {"task": write_task("validation", out), "limit": validation, "split": "held_out"},
        ]
    grid = run("grid", _GRID, "grid", parents, suite, out)
    adaptive = run("adaptive", _RANGE, "adaptive", parents, suite, out)
    search = {"strategy": "bayesian", "item_evaluations": evaluations(grid)}
    by_blocks = run("blocks", {"blocks": blocks, **_RANGE}, search, parents, suite, out)
    text = report(grid, adaptive, by_blocks)
    write_text_atomic(out / "search_real.md", text)
    click.echo(text)


if __name__ == "__main__":
    main()
