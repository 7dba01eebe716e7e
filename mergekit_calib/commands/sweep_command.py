"""`mergekit-calib sweep`: run a recipe as a sweep, with mergekit's options, whether or not the hooks are active."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from mergekit.options import MergeOptions, PrettyPrintHelp, add_merge_options

from mergekit_calib.errors import CalibError
from mergekit_calib.integrations.boundary import boundary
from mergekit_calib.integrations.recipe_runner import run_source
from mergekit_calib.integrations.trackers import TRACKERS
from mergekit_calib.recipe import has_calibration_block, read_file, read_yaml


class _Workers(click.ParamType):  # type: ignore[type-arg]  # generic in click 8.4
    """A whole number from 1, or `auto`."""

    name = "auto|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == "auto":
            return "auto"
        try:
            return int(click.IntRange(1).convert(value, param, ctx))
        except click.BadParameter:
            self.fail(f"{value!r} is neither a whole number from 1 nor auto", param, ctx)


@click.command("sweep", cls=PrettyPrintHelp)
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out")
@click.option(
    "--log", "trackers", multiple=True, type=click.Choice(sorted(TRACKERS)), help="Also log to this experiment tracker."
)
@click.option(
    "--workers",
    type=_Workers(),
    help="How many processes score points; auto: one for each GPU. The recipe's if not set.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, print what the sweep will cost, and write nothing.")
@click.option(
    "--ray", "address", metavar="auto|HOST:PORT", help="Score on the workers of a Ray cluster (`auto`: this machine's)."
)
@add_merge_options  # type: ignore[untyped-decorator]  # mergekit has no types
def sweep_command(
    merge_options: MergeOptions,
    recipe: Path,
    out: str,
    trackers: tuple[str, ...],
    workers: int | str | None,
    dry_run: bool,
    address: str | None,
) -> None:
    """Merge, score and compare every point of RECIPE, and write the chosen model and the report to OUT."""
    with boundary():
        text = read_file(recipe)
        read_yaml(text, str(recipe))
        if not has_calibration_block(text, str(recipe)):
            raise CalibError(f"{recipe} has no `calibration:` block; mergekit-yaml runs plain recipes")
        merge_options.apply_global_options()
        if dry_run and address is not None:
            raise click.UsageError(
                "--dry-run is for this machine; `mergekit-calib plan --gpu NAME --workers N` plans for a cluster"
            )
        if dry_run:
            from mergekit_calib.commands.plan_command import show_cost  # a run needs none of it

            show_cost(recipe, Path(out), merge_options, workers=workers)
            return
        ray = None
        if address is not None:
            from mergekit_calib.sweep.remote.cluster_share import RaySettings

            ray = RaySettings(address)
        status = run_source(text, out, merge_options, str(recipe), trackers, workers, ray)
    sys.exit(status)
