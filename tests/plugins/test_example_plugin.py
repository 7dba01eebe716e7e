"""The example plugin, installed like any package: recipes name what it adds, and `doctor` lists it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mergekit_calib.recipe import dump_recipe
from mergekit_calib.results.frontier import Frontier

EXAMPLE = Path(__file__).parent / "example"
README = Path(__file__).parents[2] / "mergekit_calib" / "README.md"
RUN = """
import sys
from mergekit.options import MergeOptions
from mergekit_calib.integrations.recipe_runner import run_source
sys.exit(run_source(open(sys.argv[1]).read(), sys.argv[2], MergeOptions(quiet=True), sys.argv[1]))
"""
DOCTOR = "from mergekit_calib.cli import main; main(['doctor'])"


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Install the example, and return the environment of processes that have it."""
    source, target = tmp_path_factory.mktemp("source") / "example", tmp_path_factory.mktemp("installed")
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", target]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, source], check=True, capture_output=True)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(target), *sys.path])}


@pytest.fixture
def recipe_with(make_model, task):
    """Return a function that makes a recipe; further keys go into its `calibration:` block."""

    def make(axes, search, **block):
        return {
            "merge_method": "calibration_sweep",
            "base_model": str(make_model(seed=0)),
            "models": [{"model": str(make_model(seed=1))}],
            "calibration": {"axes": axes, "suite": [task], "search": search, "n_resamples": 100, **block},
        }

    return make


def python(environment, program, *arguments) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def run(environment, recipe, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "sweep.yml").write_text(dump_recipe(recipe))
    return python(environment, RUN, folder / "sweep.yml", folder / "out")


def test_a_sweep_uses_all_that_the_plugin_adds(environment, recipe_with, tmp_path):
    recipe = recipe_with(
        {"lambda": {"ramp": "linear", "min": 0.0, "max": 1.0}},
        {"strategy": "diagonal", "steps": 2},
        objectives=["acc", "mean_confidence"],
        select={"rule": "most", "objective": "mean_confidence"},
    )
    ran = run(environment, recipe, tmp_path)
    assert ran.returncode == 0, ran.stderr
    frontier = Frontier.load(tmp_path / "out")
    (point,) = [p for p in frontier.points if p.role is None]  # the ends of the diagonal are the parents
    assert point.axes == {"lambda_first": 0.5, "lambda_last": 0.5}
    base, aligned = yaml.safe_load(point.recipe)["models"]
    assert (base["parameters"]["weight"], aligned["parameters"]["weight"]) == ([0.5, 0.5], [0.5, 0.5])
    confidences = {p.id: p.metrics["suite"]["mean_confidence"]["selection"].value for p in frontier.points}
    assert all(0 < confidence < 1 for confidence in confidences.values())
    assert frontier.selected.id == min(confidences, key=confidences.__getitem__)
    assert "has the best mean_confidence" in frontier.selection.reason


@pytest.mark.parametrize(
    ("axis", "search", "block", "message"),
    [
        ({}, {"steps": 0}, {}, "calibration.search: steps is 0: input should be greater than or equal to 1"),
        ({}, {"step": 3}, {}, "calibration.search: 'step' is not an option (did you mean 'steps'?)"),
        ({"ramp": "steep"}, {}, {}, "calibration.axes.lambda: ramp is 'steep': input should be 'linear'"),
        ({}, {}, {"select": {"rule": "most"}}, "calibration.select: objective is missing"),
        ({}, {}, {"objectives": ["mean_confidense"]}, "did you mean 'mean_confidence'"),
    ],
)
def test_mistakes_in_the_options_of_a_plugin_are_named(
    environment, recipe_with, tmp_path, axis, search, block, message
):
    recipe = recipe_with({"lambda": {"min": 0.0, "max": 1.0, **axis}}, {"strategy": "diagonal", **search}, **block)
    assert message in run(environment, recipe, tmp_path).stderr


def test_the_doctor_lists_the_plugin(environment):
    ran = python(environment, DOCTOR)
    assert (
        "plugin calib-example 0.1.0: metric mean_confidence, selection rule most, search strategy diagonal, "
        "axis kind ramp" in ran.stdout
    )


def test_the_doctor_names_a_plugin_that_cannot_be_loaded(environment, tmp_path):
    (tmp_path / "calib_example.py").write_text("import no_such_package")  # comes before the installed one
    path = os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]])
    ran = python({**environment, "PYTHONPATH": path}, DOCTOR)
    assert ran.returncode == 1
    assert "✗ the plugin calib-example cannot be loaded: ModuleNotFoundError: No module named 'no_such_package'" in (
        ran.stdout
    )


def test_the_readme_shows_every_file_of_the_example():
    _, _, section = README.read_text(encoding="utf-8").partition("\n## Writing a plugin\n")
    section = section.split("\n## ")[0]
    blocks = re.findall(r"^```(?:python|toml)\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    files = [path for path in EXAMPLE.rglob("*") if path.suffix in (".py", ".toml")]
    assert sorted(blocks) == sorted(path.read_text(encoding="utf-8") for path in files)
