"""The report's files are written whole or not at all, and the run can be read back."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pandas as pd
import pytest

from helpers.report_factory import make_frontier
from mergekit_calib import Frontier
from mergekit_calib.report.page import report_html
from mergekit_calib.report.report_files import write_report
from mergekit_calib.storage.atomic import write_bytes_atomic, write_text_atomic

PICTURES = {f"{name}.{kind}" for name in ("frontier", "lambda", "reliability") for kind in ("png", "svg")}


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


def test_a_picture_without_data_for_it_is_removed(tmp_path: Path) -> None:
    write_bytes_atomic(tmp_path / "calibration" / "reliability.png", b"of an earlier run")
    write_report(make_frontier(reliability={}), tmp_path)
    assert "reliability.png" not in names(tmp_path / "calibration")


def test_odd_ids_and_an_empty_run_can_be_reported(tmp_path: Path) -> None:
    frontier = make_frontier(failed=("lambda=0.3",))
    frontier.points[2].id = 'a/b\\c "d" <e> & $f$ |\n'
    write_report(frontier, tmp_path / "odd")
    write_report(make_frontier(points=[], select=None, finished=False), tmp_path / "empty")
    assert names(tmp_path / "empty" / "calibration") == {"points.csv", "report.html"}


def test_a_frontier_is_loaded_as_it_was_written(tmp_path: Path) -> None:
    frontier = make_frontier({"lambda": [0.4, 0.8], "density": [0.3, 0.6]}, failed=("lambda=0.4,density=0.3",))
    write_text_atomic(tmp_path / "calibration" / "frontier.json", frontier.model_dump_json(indent=1))
    loaded = Frontier.load(tmp_path)
    assert loaded == frontier
    assert report_html(loaded) == report_html(frontier)


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
