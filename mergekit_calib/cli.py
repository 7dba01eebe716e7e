"""The command `mergekit-calib`: what the hosts' own commands do not do."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mergekit_calib.errors import CalibError


class _Group(click.Group):
    """Prints a user's mistake as one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except CalibError as problem:
            raise click.ClickException(str(problem)) from problem


@click.group(cls=_Group)
@click.version_option(package_name="mergekit-calib")
def main() -> None:
    """Calibration-aware model merging: sweep, report, and look at what is installed.

    The main job needs no command of its own: put a `calibration:` block into a mergekit recipe and run
    `mergekit-yaml recipe.yml out/`.
    """


@main.command()
@click.argument("out", type=click.Path(path_type=Path))
def demo(out: Path) -> None:
    """Sweep the embedded pair of small models into OUT; needs no network and no GPU."""
    from mergekit.options import MergeOptions

    from mergekit_calib.demo import sweep_yaml
    from mergekit_calib.hosts.run import run_source

    sys.exit(run_source(sweep_yaml(), str(out), MergeOptions(), "demo.yml"))


@main.command()
@click.argument("out", type=click.Path(exists=True, path_type=Path))
def report(out: Path) -> None:
    """Draw the table, the pictures, the page and the card of a finished run again, from its files alone."""
    from mergekit_calib.frontier import Frontier
    from mergekit_calib.report.write import write_report

    frontier = Frontier.load(out)
    write_report(frontier, out)
    click.echo(out / "calibration" / "report.html")


@main.command()
def doctor() -> None:
    """Say whether the plugin is active in this environment, and what it found."""
    from mergekit_calib.hosts.doctor import examine

    lines, healthy = examine()
    for line in lines:
        click.echo(line)
    sys.exit(0 if healthy else 1)
