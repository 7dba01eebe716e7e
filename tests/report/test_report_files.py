"""The report's files: whole or not there, the page self-contained and inert, the run readable back."""

from __future__ import annotations

import os
import re
import stat
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from report_factory import make_frontier

from mergekit_calib.files import write_bytes_atomic, write_text_atomic
from mergekit_calib.frontier import Frontier
from mergekit_calib.report.page import report_html
from mergekit_calib.report.plots import draw_pictures
from mergekit_calib.report.write import write_report

PICTURES = {f"{name}.{kind}" for name in ("frontier", "lambda", "reliability") for kind in ("png", "svg")}
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks nesting, and collects what could fetch or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_finished_run_gets_every_file(tmp_path: Path) -> None:
    frontier = make_frontier()
    write_report(frontier, tmp_path)
    assert names(tmp_path) == {"README.md", "calibration"}
    assert names(tmp_path / "calibration") == PICTURES | {"points.csv", "report.html"}
    assert len(pd.read_csv(tmp_path / "calibration" / "points.csv")) == len(frontier.points)


@pytest.mark.parametrize(
    "frontier", [make_frontier(select=None), make_frontier(finished=False)], ids=["nothing selected", "still running"]
)
def test_there_is_no_card_before_there_is_a_model(frontier: Frontier, tmp_path: Path) -> None:
    write_report(frontier, tmp_path)
    assert names(tmp_path) == {"calibration"}


def test_a_card_that_is_not_wanted_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    write_report(make_frontier(), tmp_path, card=False)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_picture_that_no_longer_applies_is_removed(tmp_path: Path) -> None:
    write_bytes_atomic(tmp_path / "calibration" / "reliability.png", b"of an earlier run")
    write_report(make_frontier(reliability={}), tmp_path)
    assert "reliability.png" not in names(tmp_path / "calibration")


def test_odd_ids_and_an_empty_run_can_be_reported(tmp_path: Path) -> None:
    frontier = make_frontier(failed=("lambda=0.3",))
    frontier.points[2].id = 'a/b\\c "d" <e> & $f$ |\n'
    write_report(frontier, tmp_path / "odd")
    write_report(make_frontier(points=[], select=None, finished=False), tmp_path / "empty")
    assert names(tmp_path / "empty" / "calibration") == {"points.csv", "report.html"}


def test_what_was_dumped_is_loaded_as_it_was(tmp_path: Path) -> None:
    frontier = make_frontier({"lambda": [0.4, 0.8], "density": [0.3, 0.6]}, failed=("lambda=0.4,density=0.3",))
    write_text_atomic(tmp_path / "calibration" / "frontier.json", frontier.model_dump_json(indent=1))
    loaded = Frontier.load(tmp_path)
    assert loaded == frontier
    assert report_html(loaded, {}) == report_html(frontier, {})


def test_the_page_is_well_formed_and_fetches_and_runs_nothing() -> None:
    frontier = make_frontier(failed=("lambda=0.3",))
    text = report_html(frontier, draw_pictures(frontier))
    page = Page(text)
    assert page.open == []
    assert not {"script", "iframe", "object", "link", "form"} & set(page.tags)
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    assert len(sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"url\(|@import|https?://", text)


def test_the_page_gives_the_answer_before_table_and_recipes() -> None:
    frontier = make_frontier()
    text = report_html(frontier, {})
    assert text.index("is chosen") < text.index("<table>") < text.index("<details>")
    assert text.count("<details>") == len(frontier.points)
    assert "prefers-color-scheme: dark" in text


def test_names_are_data_in_the_page() -> None:
    attack = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'"
    frontier = make_frontier(
        failed=("lambda=0.3",), name=attack, method=attack, notes=[attack], versions={attack: attack}
    )
    frontier.models = {"base": attack, "aligned": attack}
    for point in frontier.points:
        point.id, point.recipe = attack, attack
        point.reason = attack if point.status == "failed" else None
        if point.metrics:
            point.metrics = {attack: {attack: point.metrics["suite"]["ece"]}}
    page = Page(report_html(frontier, {}))
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert attack in page.texts


def test_sixty_points_of_three_tasks_stay_under_three_megabytes() -> None:
    frontier = make_frontier({"lambda": [i / 40 for i in range(60)]})
    for point in frontier.points:
        point.metrics |= {f"task_{i}": point.metrics["suite"] for i in range(3)}
    assert len(report_html(frontier, draw_pictures(frontier)).encode()) < 3_000_000


def test_a_running_page_says_that_the_run_is_going_on() -> None:
    assert "The run is going on" in report_html(make_frontier(finished=False), {})
    assert "The run is going on" not in report_html(make_frontier(), {})


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "file"
    write_text_atomic(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes_atomic(path, b"new")
    assert path.read_text() == "old"
    assert names(tmp_path) == {"file"}


def test_text_is_utf8_with_its_line_endings_and_ordinary_permissions(tmp_path: Path) -> None:
    write_text_atomic(tmp_path / "new" / "file", "λ\r\n")
    assert (tmp_path / "new" / "file").read_bytes() == "λ\r\n".encode()
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "new" / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_permissions_of_a_replaced_file_are_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "file").chmod(0o640)
    write_text_atomic(tmp_path / "file", "new")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
