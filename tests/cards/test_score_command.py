"""What `mergekit-calib score` tells its user: warnings and mistakes as one line each, hostile names as text."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import warnings
from pathlib import Path

import pytest
import transformers
from click.testing import CliRunner
from lm_eval._cli.run import Run

import mergekit_calib
from helpers.earlier_keys_of_scores import file_under_earlier_keys_of_models
from helpers.hostile_names import ACTING
from mergekit_calib.cli import main
from mergekit_calib.items.item_files import read_facts
from mergekit_calib.report.terminal.told_warnings import told_warnings
from mergekit_calib.scoring.suite import Suite

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


def screen(*arguments: str) -> list[str]:
    """Return what the command prints to a terminal of 80 columns."""
    done = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["score", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout.rstrip().splitlines()


def test_two_models_stand_side_by_side_in_80_columns_and_one_screen(monkeypatch):
    monkeypatch.chdir(Path(BASE).parent)  # so that names are short
    lines = screen("base", "aligned", "--tasks", "calib_demo", "--limit", "200")
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40
    (accuracy,) = (line for line in lines if line.startswith(" acc ↑"))
    assert accuracy.count("[") == 2
    bins = [line for line in lines if line[:2] in ("0.", "1.")]
    assert bins
    assert len({line[:9] for line in bins}) == len(bins)
    assert sum(len(re.findall(r"▇ ?0\.\d\d|▒ 0\.\d\d|░ 0\.\d\d", line)) == 2 for line in bins) >= 5


def test_lm_evals_options_are_taken_in_its_spelling_and_with_dashes(tmp_path):
    common = [BASE, "--tasks", "calib_demo", "--out"]
    underscored = ["--limit", "4", "--num_fewshot", "0", "--batch_size", "2", "--model_args", "dtype=float32"]
    underscored += ["--system_instruction", "Answer.", "--device", "cpu", "--n_bins", "10"]
    dashed = [each.replace("_", "-") if each.startswith("--") else each for each in underscored]
    for i, options in enumerate((underscored, dashed)):
        done = score(*common, str(tmp_path / str(i)), *options)
        assert done.exit_code == 0, done.output
    (first,), (second,) = (sorted(path.name for path in (tmp_path / i / "items").iterdir()) for i in "01")
    assert first == second
    facts = read_facts(tmp_path / "0" / "items" / first)
    assert facts["suite"][0]["entry"]["system_instruction"] == "Answer."
    assert facts["model_args"] == {"dtype": "float32"}


def test_every_option_that_lm_eval_has_too_is_spelt_as_there():
    parser = argparse.ArgumentParser()
    Run(parser.add_subparsers())
    (theirs,) = parser._subparsers._group_actions[0].choices.values()
    spellings = {option for action in theirs._actions for option in action.option_strings}
    ours = {option for parameter in main.commands["score"].params for option in parameter.opts if option != "models"}
    alone = {"--from", "--out", "--repeats", "--n_bins"}
    assert alone <= ours
    assert ours - alone <= spellings
    assert {"--device", "--batch_size", "--system_instruction"} < ours - alone


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "cuda:99"], "device is 'cuda:99'; the devices here are cpu"),
        (["--device", "cpu", "--model_args", "device=cuda"], "leave one out"),
        (["--batch_size", "many"], "--batch_size 'many': write a number from 1, auto, or auto:N"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_before_the_model_is_loaded(options, message):
    done = score(BASE, "--tasks", "calib_demo", "--limit", "4", *options)
    assert done.exit_code == 1
    assert message in done.stderr.splitlines()[-1]


def test_scores_are_found_on_another_device_and_under_the_keys_of_earlier_versions(tmp_path, monkeypatch):
    options = [BASE, "--tasks", "calib_demo", "--limit", "4", "--out", str(tmp_path), "--model_args", "dtype=float32"]

    def files() -> list[str]:
        return sorted(path.name for path in (tmp_path / "items").iterdir())

    assert score(*options).exit_code == 0
    before = files()
    monkeypatch.setattr(Suite, "score", lambda *_: pytest.fail("scored again"))
    assert score(*options, "--device", "cpu", "--batch_size", "4").exit_code == 0
    assert files() == before
    file_under_earlier_keys_of_models(tmp_path / "items", {"dtype": "float32", "device": "cuda:7"})
    assert files() != before
    assert score(*options).exit_code == 0
    assert files() == before


def test_another_version_of_the_engine_scores_a_model_again(tmp_path, monkeypatch):
    options = [BASE, "--tasks", "calib_demo", "--limit", "4", "--out", str(tmp_path)]
    assert score(*options).exit_code == 0
    monkeypatch.setattr(transformers, "__version__", "5.99.0")
    assert score(*options).exit_code == 0
    assert len(list((tmp_path / "items").iterdir())) == 2
