"""Pages of sweeps and comparisons with hostile names, in a browser: they are text, within the page, and run nothing."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.hostile_names import ACTING, HOSTILE, hostile_frontier
from mergekit_calib.report.comparison_files import write_comparison
from mergekit_calib.report.tables.csv_text import original
from mergekit_calib.report.text.safe_text import on_one_line, printable
from mergekit_calib.storage.atomic import write_text_atomic

NAMES = {
    "markup": "".join(HOSTILE[kind] for kind in ("html", "javascript", "markdown", "templates", "formula")),
    "acts": "".join(HOSTILE[kind] for kind in ("controls", "line breaks", "direction", "surrogates", "right to left")),
    "long": HOSTILE["long"],
    "words": HOSTILE["long words"],
}


def overflows(opened: Any) -> list[object]:
    """The width of what can be scrolled to and that of the window, and what sticks out, if the page can be scrolled."""
    found: list[object] = opened.page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= width) return [];
          const all = [...document.body.querySelectorAll("*")];
          const wide = all.filter((e) => e.getBoundingClientRect().right > width + 1);
          return [document.documentElement.scrollWidth, width, ...wide.map((e) => `${e.tagName} ${e.id}`)];
        }"""
    )
    return found


@pytest.mark.parametrize(("kind", "width"), [("markup", 1200), ("acts", 390), ("long", 390), ("words", 1200)])
def test_a_hostile_name_is_text_within_the_page(kind: str, width: int, open_report: Callable) -> None:
    name = NAMES[kind]
    opened = open_report(hostile_frontier(name), viewport={"width": width, "height": 900})
    stored = printable(name.encode(errors="backslashreplace").decode())
    assert opened.page.title() == on_one_line(f"{stored}: calibration sweep")
    assert opened.text("h1") == on_one_line(stored)
    assert opened.page.locator("#frontier-chart [role=radio]").count() == 4
    opened.page.locator("#points-table tbody button").last.click()
    assert not ACTING.search(opened.page.evaluate("document.body.innerText"))
    assert opened.page.locator("img[src=x]").count() == 0
    assert overflows(opened) == []


def test_the_table_that_the_page_saves_has_no_formula(open_report: Callable, tmp_path: Path) -> None:
    frontier = hostile_frontier(HOSTILE["formula"])
    frontier.points[0].id = HOSTILE["formula"]
    opened = open_report(frontier)
    with opened.page.expect_download() as download:
        opened.page.locator("#points-csv").click()
    download.value.save_as(tmp_path / "points.csv")
    with (tmp_path / "points.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [original(row["id"]) for row in rows] == [point.id for point in frontier.points]
    assert rows[0]["id"] == f"'{HOSTILE['formula']}"
    assert float(rows[0]["suite.ece.held_out.value"]) > 0


def test_a_comparison_of_runs_with_hostile_names_is_text_within_the_page(open_report: Callable, tmp_path: Path) -> None:
    names = {"one": NAMES["markup"], "two": HOSTILE["long"]}
    for folder, name in names.items():
        text = hostile_frontier(name).model_dump_json()
        write_text_atomic(tmp_path / folder / "calibration" / "frontier.json", text)
    page = write_comparison([tmp_path / folder for folder in names], tmp_path / "to")
    opened = open_report(page.read_text(encoding="utf-8"))
    assert on_one_line(NAMES["markup"]) in opened.text("body")
    assert overflows(opened) == []
