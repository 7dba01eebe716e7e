"""Run a sweep of the gallery in `configs/README.md`, and save its pictures to `configs/results/`.

    python tests/benchmarks/gallery.py demo                       # 1 minute
    python tests/benchmarks/gallery.py blocks                     # 5 minutes
    python tests/benchmarks/gallery.py real_pair --pair PAIR      # half an hour; PAIR has the folders base and aligned

Each is the recipe of that name in `configs/` (`search_blocks.yml` for blocks). The pictures are the trade-off
(`NAME_frontier.png`) and the report page in both colour schemes. With `--out OUT` a finished run is kept there, or
taken from there if the command was given before.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from playwright.sync_api import sync_playwright
from screenshots import RESULTS, take_pictures

from mergekit_calib.results.frontier import Frontier

TOP = Path(__file__).resolve().parents[2]
RECIPES = {"demo": "demo.yml", "blocks": "search_blocks.yml", "real_pair": "real_pair.yml"}
PREFIX_OF_PAGE = {"demo": "", "blocks": "blocks_", "real_pair": "real_pair_"}


@click.command()
@click.argument("name", type=click.Choice(sorted(RECIPES)))
@click.option("--pair", type=click.Path(exists=True, file_okay=False, path_type=Path), help="The real pair's folder.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where the run is kept.")
def main(name: str, pair: Path | None, out: Path | None) -> None:
    """Run the sweep NAME of the gallery, and save its pictures."""
    if (name == "real_pair") != (pair is not None):
        raise click.UsageError("--pair is needed for real_pair, and for nothing else")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # The recipes name the models by paths that are relative to the working directory.
        link = "mergekit_calib" if pair is None else "pair"
        (folder / link).symlink_to(TOP / link if pair is None else pair.resolve())
        run = out.resolve() if out else folder / name
        recipe = TOP / "configs" / RECIPES[name]
        subprocess.run(
            [sys.executable, "-m", "mergekit_calib", "sweep", recipe, run],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TOP), os.environ.get("PYTHONPATH", "")])},
            check=True,
        )
        shutil.copy(run / "calibration" / "frontier.png", RESULTS / f"{name}_frontier.png")
        executable = os.environ.get("MERGEKIT_CALIB_BROWSER") or shutil.which("chromium")
        with sync_playwright() as playwright:
            rights = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = playwright.chromium.launch(executable_path=executable, args=rights)
            take_pictures(browser, Frontier.load(run), RESULTS, PREFIX_OF_PAGE[name])
            browser.close()


if __name__ == "__main__":
    main()
