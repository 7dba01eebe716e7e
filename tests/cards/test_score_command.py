"""What `mergekit-calib score` tells its user: warnings and mistakes as one line each, hostile names as text."""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner

import mergekit_calib
from helpers.hostile_names import ACTING
from mergekit_calib.cli import main
from mergekit_calib.report.terminal.told_warnings import told_warnings

BASE = str(Path(mergekit_calib.__file__).parent / "demo" / "base")
RUN = Path(__file__).parent / "data" / "0.4.13" / "made__up"


def score(*arguments: str):
    return CliRunner().invoke(main, ["score", *arguments])


def test_warnings_of_this_package_are_one_line_each_and_others_are_not_shown(capsys, monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", [])
    with told_warnings():
        warnings.simplefilter("always")
        for line in (1, 2):
            warnings.warn_explicit("slow\n\x1b[2J here", UserWarning, f"{BASE}/model.py", line)
        warnings.warn_explicit("theirs", UserWarning, "/site-packages/torch/nn.py", 1)
    assert capsys.readouterr().err == "warning: slow \\x1b[2J here\n"


def test_a_model_is_scored_without_a_raw_warning(monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", [])
    done = score(BASE, "--tasks", "calib_demo", "--limit", "4")
    assert done.exit_code == 0, done.output
    assert "UserWarning" not in done.output
    assert all(line.startswith("warning: ") for line in done.stderr.splitlines() if line.strip())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["./nowhere", "--tasks", "calib_demo"], "'./nowhere' does not exist"),
        ([BASE, "--tasks", "calib_dem"], "did you mean 'calib_demo'"),
        ([BASE, "--tasks", "nowhere.yaml"], "no file nowhere.yaml"),
        (["--from", "nowhere/"], "no such file or folder"),
        (["--from", "a\0\x1b[2Jb"], "a\\x00\\x1b[2Jb: no such file or folder"),
        (["--from", "x" * 3000], "cannot be read"),
        (["./nowhere", "--tasks", "calib_demo", "--out", __file__], "it is a file"),
        (["--from", str(RUN), "--out", __file__], "it is a file"),
    ],
)
def test_a_mistake_is_one_line(arguments, message):
    done = score(*arguments)
    assert done.exit_code == 1
    *_, line = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse names that are not UTF-8")
def test_the_card_of_a_run_in_a_folder_with_a_hostile_name_is_whole(tmp_path):
    name = os.fsdecode(b"=a\x1b[31m\n|<b>\xff[x]$")
    folder = tmp_path / name
    folder.mkdir()
    for file in RUN.glob("samples_form_choice*"):
        shutil.copy(file, folder / f"samples_[bold]{name}.jsonl")
    done = score("--from", str(folder), "--out", str(tmp_path / "card"))
    assert done.exit_code == 0, done.output
    assert not ACTING.search(done.output)
    read = json.loads((tmp_path / "card" / "scores.json").read_text(encoding="utf-8"))
    assert [model["name"] for model in read["models"]] == ["=a\x1b[31m\n|<b>\\udcff[x]$"]
    table = (tmp_path / "card" / "scores.csv").read_text(encoding="utf-8")
    assert not ACTING.search(table + (tmp_path / "card" / "scores.md").read_text(encoding="utf-8"))
    assert all(line.startswith("'=a\\x1b[31m |<b>\\udcff[x]$,") for line in table.splitlines()[1:])
