"""A third party's package, found by its entry point: YAML names its strategy, objective, selection rule and axis."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

from mergekit_calib.recipe import dump_recipe
from mergekit_calib.results.frontier import Frontier

PACKAGE = Path(__file__).parent / "plugin_package"
RUN = """
import sys
from mergekit.options import MergeOptions
from mergekit_calib.integrations.recipe_runner import run_source
sys.exit(run_source(open(sys.argv[1]).read(), sys.argv[2], MergeOptions(quiet=True), sys.argv[1]))
"""


def run_installed(recipe, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "sweep.yml").write_text(dump_recipe(recipe))
    path = os.pathsep.join([str(PACKAGE), *sys.path])
    command = [sys.executable, "-c", RUN, folder / "sweep.yml", folder / "out"]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)


def test_a_package_adds_a_strategy_an_objective_a_rule_and_an_axis(recipe_with, tmp_path):
    recipe = recipe_with(
        {"lambda": {"ramp": "linear", "min": 0.0, "max": 1.0}},
        {"strategy": "golden", "points": 2, "share": 0.5},
        objectives=["acc", "mean_confidence"],
        select={"rule": "last"},
    )
    ran = run_installed(recipe, tmp_path)
    assert ran.returncode == 0, ran.stderr
    frontier = Frontier.load(tmp_path / "out")
    points = [p for p in frontier.points if p.role is None]
    assert [p.axes for p in points] == [
        {"lambda_first": 0.5, "lambda_last": 0.5},
        {"lambda_first": 0.75, "lambda_last": 0.5},
    ]
    base, aligned = yaml.safe_load(points[1].recipe)["models"]
    assert (base["parameters"]["weight"], aligned["parameters"]["weight"]) == ([0.25, 0.5], [0.75, 0.5])
    assert 0 < points[0].estimate(frontier.objectives[1]).value < 1
    assert frontier.selection.reason == "It is the last."


def test_the_options_of_a_packages_strategy_and_axis_are_checked(recipe_with, tmp_path):
    search = {"strategy": "golden", "points": 1, "share": 3}
    ran = run_installed(recipe_with({"lambda": {"min": 0.0, "max": 1.0}}, search), tmp_path)
    assert "calibration.search.share: expected a number between 0 and 1" in ran.stderr
    recipe = recipe_with({"lambda": {"ramp": "steep", "min": 0.0, "max": 1.0}}, {"strategy": "golden", "points": 1})
    assert "calibration.axes.lambda: ramp is 'steep': input should be 'linear'" in run_installed(recipe, tmp_path).stderr
