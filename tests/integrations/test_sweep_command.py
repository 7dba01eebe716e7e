"""`mergekit-calib sweep`: the same sweep as `mergekit-yaml`'s, with mergekit's options and a tracker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from mergekit_calib.commands.sweep_command import sweep_command
from mergekit_calib.merging.weights_digest import digest_of
from mergekit_calib.recipe import dump_recipe
from mergekit_calib.results.frontier import Frontier


def sweep(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("mergekit-calib"), "sweep", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def recipe(make_model, task) -> str:
    return dump_recipe(
        {
            "merge_method": "calibration_sweep",
            "base_model": str(make_model(seed=1)),
            "models": [{"model": str(make_model(seed=2))}],
            "parameters": {"method": "linear"},
            "dtype": "bfloat16",
            "calibration": {"axes": {"lambda": [0.5]}, "suite": [task], "n_resamples": 100},
        }
    )


def test_the_command_runs_a_recipe_without_the_hooks(make_model, task, tmp_path, monkeypatch):
    monkeypatch.setenv("MERGEKIT_CALIB_DISABLE", "1")
    (tmp_path / "sweep.yml").write_text(recipe(make_model, task))
    ran = sweep("sweep.yml", "out", "--random-seed", 3, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    frontier = Frontier.load(tmp_path / "out")
    assert frontier.seed == 3
    assert digest_of(tmp_path / "out") == frontier.selected.digest


def test_a_recipe_without_the_block_is_sent_to_mergekit(tmp_path):
    (tmp_path / "plain.yml").write_text("merge_method: linear\nmodels: []\n")
    plain = sweep("plain.yml", "out", folder=tmp_path)
    assert (plain.returncode, plain.stderr.count("\n")) == (1, 1)
    assert "plain.yml has no `calibration:` block" in plain.stderr


def test_a_syntax_error_in_the_yaml_is_named_with_line_and_column(tmp_path):
    (tmp_path / "slip.yml").write_text("merge_method: linear\ncalibration:\n  axes: lambda: [1]\n")
    ran = CliRunner().invoke(sweep_command, [str(tmp_path / "slip.yml"), str(tmp_path / "out")])
    assert ran.exit_code == 1
    assert "slip.yml: (whole file): line 3, column 15: is not valid YAML" in ran.output
