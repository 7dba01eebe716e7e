"""`mergekit-calib plan`: check a recipe as a sweep does, and print what the sweep will cost; nothing is written."""

from __future__ import annotations

import uuid
from pathlib import Path

import click
from mergekit.options import MergeOptions, PrettyPrintHelp, add_merge_options

from mergekit_calib.errors import CalibError
from mergekit_calib.integrations.boundary import boundary
from mergekit_calib.integrations.recipe_runner import check_block
from mergekit_calib.integrations.worker_shares import environments_of_workers
from mergekit_calib.merging.hub_headers import header_cache
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.recipe_keys import known_keys
from mergekit_calib.recipe import Sweep, has_calibration_block, parse_sweep, read_file, read_yaml
from mergekit_calib.report.terminal.cost_table import print_cost
from mergekit_calib.report.terminal.safe_console import SafeConsole
from mergekit_calib.report.terminal.told_warnings import told_warnings
from mergekit_calib.report.terminal.waiting import waiting
from mergekit_calib.results.cost import SweepCost
from mergekit_calib.sweep.cost.gpu_table import Gpu, gpu_named
from mergekit_calib.sweep.cost.sweep_estimate import estimate_cost


@click.command("plan", cls=PrettyPrintHelp)
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--gpu", help="The device to plan for, as h100; this machine without it.")
@click.option("--workers", type=click.IntRange(1), help="Workers, each with a device; the recipe's if not set.")
@click.option(
    "--minutes", type=click.FloatRange(0, min_open=True), help="Find the largest suite that fits into this time."
)
@add_merge_options  # type: ignore[untyped-decorator]  # mergekit has no types
def plan_command(
    merge_options: MergeOptions, recipe: Path, gpu: str | None, workers: int | None, minutes: float | None
) -> None:
    """Check RECIPE as a sweep does, and print what it will cost; no weights are loaded, and nothing is written."""
    with boundary():
        merge_options.apply_global_options()
        out = Path(f"mergekit-calib-plan-{uuid.uuid4().hex}")  # never made
        show_cost(recipe, out, merge_options, gpu, workers, minutes)


def show_cost(
    recipe: Path,
    out: Path,
    options: MergeOptions,
    gpu: str | None = None,
    workers: int | str | None = None,
    minutes: float | None = None,
) -> SweepCost:
    """Print what a sweep will cost, and return it.

    Args:
        recipe: the recipe's file.
        out: the output folder; nothing is written there.
        options: mergekit's options.
        gpu: a device of `gpu_table`; None for this machine.
        workers: how many workers share the points, or `auto`; what the recipe says if None.
        minutes: the time that the largest suite is to fit into.

    Raises:
        CalibError: a mistake that the user can correct.
    """
    device = None if gpu is None else gpu_named(gpu)
    text, source = read_file(recipe), str(recipe)
    read_yaml(text, source)
    if not has_calibration_block(text, source):
        raise CalibError(f"{recipe} has no `calibration:` block; mergekit-yaml runs plain recipes")
    with waiting("reading models and tasks, counting tokens"), told_warnings():
        check_block(text, source)
        register()
        sweep = parse_sweep(text, registered_signatures(), source, known_keys())
        with header_cache(sweep.models, options) as options_here:
            n_workers = _n_workers(sweep, options_here, device, workers)
            cost = estimate_cost(sweep, out, options_here, device, n_workers, minutes, started=0.0)
    print_cost(cost, SafeConsole())
    return cost


def _n_workers(sweep: Sweep, options: MergeOptions, gpu: Gpu | None, workers: int | str | None) -> int:
    """Return how many workers share the points: on this machine, as many as a sweep would start."""
    if gpu is None:
        return max(1, len(environments_of_workers(sweep.calibration, options, workers)))
    requested = workers or sweep.calibration.workers
    return requested if isinstance(requested, int) else 1
