"""The page of several sweeps, and the charts of several axes, in a browser."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from helpers.report_factory import make_frontier
from mergekit_calib.cli import main
from mergekit_calib.storage.atomic import write_text_atomic

AXES = {"lambda": [0.0, 0.25, 0.5, 0.75, 1.0], "density": [0.2, 0.5, 0.8]}


@pytest.fixture(scope="module")
def comparison(finished_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished demo, a copy of it with half the items, and a sweep of two axes without item scores."""
    top = tmp_path_factory.mktemp("sweeps")
    several = make_frontier(AXES, name="several", select="lambda=0.5,density=0.5")
    write_text_atomic(top / "several" / "calibration" / "frontier.json", several.model_dump_json())
    shutil.copytree(finished_demo, top / "again")
    folders = [str(finished_demo), str(top / "again"), str(top / "several")]
    done = CliRunner().invoke(
        main, ["compare", *folders, "--to", str(top / "to"), "--metrics", "acc,ece,brier", "--format", "md,csv,tex"]
    )
    assert done.exit_code == 0, done.output
    return top / "to"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_several_sweeps_draws_its_charts_without_network_or_errors(open_report, comparison, scheme) -> None:
    opened = open_report((comparison / "comparison.html").read_text(encoding="utf-8"), color_scheme=scheme)
    page = opened.page
    assert opened.messages == []
    assert all(url.startswith(("file:", "data:")) for url in opened.requests)
    assert page.locator("#plane .sweep-ring").count() == 3
    assert page.locator("#along-figures figure").count() == 3 * 3
    assert page.locator("#along-figures .sweep-band").count() > 0
    assert page.locator("path.parallel-line").count() == 15
    assert page.locator("figure[id^=importance] .importance-bar rect").count() == 2 * 3
    assert page.locator("img.still").is_hidden()


def test_controls_change_the_plane_and_dragging_keeps_points(open_report, comparison) -> None:
    page = open_report((comparison / "comparison.html").read_text(encoding="utf-8")).page
    page.select_option("#y", "brier")
    assert "brier against ece" in page.locator("#plane h3").inner_text()
    assert "y=brier" in page.url
    before = page.locator("path.parallel-line.out").count()
    brush = page.locator("#parallel-figures .parallel-brush .overlay").first
    brush.scroll_into_view_if_needed()
    box = brush.bounding_box()
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(x, box["y"] + box["height"] / 3, steps=5)
    page.mouse.up()
    assert page.locator("path.parallel-line.out").count() > before == 0


def test_the_tables_have_the_pairs_and_say_which_are_not_compared(comparison: Path) -> None:
    pairs = pd.read_csv(comparison / "comparison_pairs.csv")
    same = pairs.iloc[0]
    assert same["acc.minus.value"] == same["brier.minus.value"] == 0.0
    assert same["n"] == same["first.n"] == same["second.n"] >= 100
    assert pairs["reason"].isna().tolist() == [True, False, False]
    text = (comparison / "comparison.md").read_text(encoding="utf-8")
    assert "at least 100" in text
    assert "brier ↓" in text
    latex = (comparison / "comparison.tex").read_text(encoding="utf-8")
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2


def test_a_sweep_of_several_axes_shows_them_at_once_on_its_own_page(open_report) -> None:
    opened = open_report(make_frontier(AXES, select="lambda=0.5,density=0.5"))
    assert opened.messages == []
    assert opened.page.locator("#axes-parallel path.parallel-line").count() == 15
    assert opened.page.locator("#axes-importance .importance-bar rect").count() == 2 * 2
    assert open_report(make_frontier()).page.locator("#axes").count() == 0
