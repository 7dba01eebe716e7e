"""Draw the pictures of the terminal that the README shows. Run it in the top folder of the checkout.

    python tests/benchmarks/terminal_picture.py configs/results/terminal.svg    # about a minute on 2 CPU cores
    python tests/benchmarks/terminal_picture.py --finished out/ configs/results/real_pair_terminal.svg    # seconds

The first command runs the embedded demo and draws its live view while it runs; the second draws what the finished run
in `out/` leaves in the terminal.
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
WIDTH, HEIGHT, WIDTH_OF_FINISHED = 84, 40, 100
POINTS, SHARE = 10, 0.6  # the picture is taken with so many points finished, and so much of the next one


class PhotographedView(ConsoleProgress):
    """A live view that no one sees, which keeps a picture of one moment."""

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
        console = _recording_console(WIDTH)
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
        return _export(console)


def draw_running() -> str:
    """Run the demo, and return its live view as SVG."""
    register()
    sweep = parse_sweep(RECIPE.read_text(encoding="utf-8"), registered_signatures(), str(RECIPE))
    with tempfile.TemporaryDirectory() as folder:
        progress = PhotographedView()
        log = RunLog(folder, progress.note)
        with log, progress:
            run_sweep(sweep, Path(folder) / "out", MergeOptions(), ProgressGroup(log, progress))
    return progress.picture


def draw_finished(out: Path) -> str:
    """Return the last output of a finished run as SVG."""
    console = _recording_console(WIDTH_OF_FINISHED)
    ConsoleProgress(console, out_path=out.name).finished(Frontier.load(out))
    return _export(console)


def _recording_console(width: int) -> Console:
    return Console(
        file=io.StringIO(), record=True, force_terminal=True, width=width, height=HEIGHT, color_system="truecolor"
    )


def _export(console: Console) -> str:
    drawn = console.export_svg(title="mergekit-calib", unique_id="terminal")
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)  # so that a viewer fetches nothing


@click.command(help=__doc__.partition("\n\n")[0])
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--finished", type=click.Path(exists=True, path_type=Path), help="Draw the end of the run in this output folder."
)
def main(target: Path, finished: Path | None) -> None:
    write_text_atomic(target, draw_running() if finished is None else draw_finished(finished))
    click.echo(target)


if __name__ == "__main__":
    main()
