"""Take the pictures of the report page that the README shows, from the output folders of finished runs.

    python tests/benchmarks/screenshots.py OUT… [--to configs/results]    # seconds

The first run's pictures are `page_light.png` and `page_dark.png`; those of the others begin with the run's name. The
page is made anew from the run's `frontier.json`. It needs playwright and a Chromium: MERGEKIT_CALIB_BROWSER if set,
else `chromium` or `google-chrome`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from mergekit_calib.report.page import report_html
from mergekit_calib.results.frontier import Frontier

RESULTS = Path(__file__).parents[2] / "configs" / "results"
SIZE = {"width": 1240, "height": 1210}
MAX_BYTES = 300_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="OUT")
    parser.add_argument("--to", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    executable = os.environ.get("MERGEKIT_CALIB_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        arguments_of_root = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=executable, args=arguments_of_root)
        for i, run in enumerate(arguments.runs):
            frontier = Frontier.load(run)
            take_pictures(browser, frontier, arguments.to, "" if i == 0 else f"{frontier.name}_")
        browser.close()


def take_pictures(browser: Browser, frontier: Frontier, folder: Path, prefix: str) -> None:
    """Save the top of a run's report page in both colour schemes."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "report.html"
        source.write_text(report_html(frontier), encoding="utf-8")
        for scheme in ("light", "dark"):
            context = browser.new_context(offline=True, viewport=SIZE, color_scheme=scheme, device_scale_factor=1.25)
            page = context.new_page()
            page.goto(source.as_uri())
            path = folder / f"{prefix}page_{scheme}.png"
            page.screenshot(path=path)
            context.close()
            size = path.stat().st_size
            assert size < MAX_BYTES, f"{path} has {size:,} bytes"
            print(f"{path}: {size:,} bytes")


if __name__ == "__main__":
    main()
