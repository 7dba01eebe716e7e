"""Draws the terminal's pictures for the README, in the checkout's top folder.

    python tests/benchmarks/terminal_picture.py configs/results/terminal.svg
    python tests/benchmarks/terminal_picture.py --finished out/ configs/results/real_pair_terminal.svg

The first runs the embedded demo, about a minute on two cores, and shows it on its way; the second shows what the
finished run in `out/` leaves in the terminal.
"""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path

import click
from mergekit.options import MergeOptions
from rich.console import Console
from rich.text import Text

from mergekit_calib.integrations.run_log import RunLog
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.recipe import parse_sweep
from mergekit_calib.report.terminal.console import ConsoleProgress
from mergekit_calib.results.events import ProgressGroup
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.storage.atomic import write_text_atomic
from mergekit_calib.sweep.coordinator import run_sweep

RECIPE = Path("configs/demo.yml")
WIDTH, HEIGHT, WIDER = 84, 40, 100
POINTS, SHARE = 10, 0.6  # when the picture is taken: so many points done, and so much of the next one


class Photographed(ConsoleProgress):
    """Shows the run to nobody, and keeps what a terminal would show at one moment."""

    def __init__(self) -> None:
        super().__init__(Console(file=io.StringIO(), force_terminal=True, width=WIDTH, height=HEIGHT))
        self.picture = ""

    def scoring(self, entry: str, done: int, total: int) -> None:
        super().scoring(entry, done, total)
        if not self.picture and self.view.n_finished == POINTS and done >= SHARE * total:
            self.picture = self._photograph()

    def _photograph(self) -> str:
        frontier = self.view.frontier
        assert frontier is not None
        console = _recording(WIDTH)
        console.print(Text.assemble(("$ ", "green"), "mergekit-yaml configs/demo.yml out/"))
        items = sum(entry.n_items for entry in frontier.suite)
        console.print(
            Text(
                f"{frontier.models['base']} → {frontier.models['aligned']}, {frontier.method}: "
                f"{self.view.n_points} points, {items:,} items of {frontier.suite[0].name}",
                style="bold",
            )
        )
        console.print(self.view)
        return _drawn(console)


def on_its_way() -> str:
    register()
    sweep = parse_sweep(RECIPE.read_text(encoding="utf-8"), registered_signatures(), str(RECIPE))
    with tempfile.TemporaryDirectory() as folder:
        progress = Photographed()
        log = RunLog(folder, progress.note)
        with log, progress:
            run_sweep(sweep, Path(folder) / "out", MergeOptions(), ProgressGroup(log, progress))
    return progress.picture


def finished_run(out: Path) -> str:
    console = _recording(WIDER)
    ConsoleProgress(console, out_path=out.name).finished(Frontier.load(out))
    return _drawn(console)


def _recording(width: int) -> Console:
    return Console(
        file=io.StringIO(), record=True, force_terminal=True, width=width, height=HEIGHT, color_system="truecolor"
    )


def _drawn(console: Console) -> str:
    drawn = console.export_svg(title="mergekit-calib", unique_id="terminal")
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)  # nothing is fetched


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--finished", type=click.Path(exists=True, path_type=Path), help="The output folder of a finished run.")
def main(target: Path, finished: Path | None) -> None:
    write_text_atomic(target, on_its_way() if finished is None else finished_run(finished))
    click.echo(target)


if __name__ == "__main__":
    main()
