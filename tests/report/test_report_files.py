"""A finished run has every file of its report, and a frontier is read back as it was written."""

from __future__ import annotations

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
