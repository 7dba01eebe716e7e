"""A command says what it is doing before it imports torch, transformers and lm-eval, which takes seconds."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mergekit_calib import demo

# Runs a command until it first writes to the screen; prints the slow modules that are imported by then, and the text.
FIRST_WRITE = """
import io, os, re, sys
SLOW = ("torch", "transformers", "lm_eval", "mergekit", "scipy", "pandas", "matplotlib", "optuna")
class Screen(io.StringIO):
    encoding = "utf-8"
    def isatty(self):
        return {is_terminal}
    def write(self, text):
        if re.sub("\\x1b\\[[?0-9;]*[a-zA-Z]", "", text).strip():
            sys.__stdout__.write(f"{{[name for name in SLOW if name in sys.modules]}} {{text}}")
            sys.__stdout__.flush()
            os._exit(0)
        return len(text)
os.environ["TERM"] = "xterm-256color"
from {module} import main
sys.stdout = sys.stderr = Screen()
main(sys.argv[1:])
"""
OURS, MERGEKITS = "mergekit_calib.cli", "mergekit.scripts.run_yaml"


def first_write(module: str, screen: str, *arguments: object) -> str:
    program = FIRST_WRITE.format(module=module, is_terminal=screen == "terminal")
    # Not in the checkout, so that the hooks of the installed plugin are used.
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=tempfile.gettempdir(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def recipe(tmp_path) -> Path:
    (tmp_path / "sweep.yml").write_text(demo.sweep_yaml())
    return tmp_path / "sweep.yml"


@pytest.mark.parametrize("screen", ["terminal", "file"])
def test_the_demo_says_first_that_it_reads_its_recipe(screen, tmp_path) -> None:
    shown = first_write(OURS, screen, "demo", tmp_path / "out")
    assert shown.startswith("[] ")
    assert "eading demo.yml" in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--help"], "Usage:"),
        (["sweep", "RECIPE", "OUT"], "reading the recipe"),
        (["report", "."], "reading ."),
        (["compare", "."], "reading ."),
        (["score", "model", "--tasks", "calib_demo"], "loading libraries"),
        (["doctor"], "mergekit-calib "),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_each_command_says_first_what_it_is_doing(arguments, says, recipe, tmp_path) -> None:
    places = {"RECIPE": recipe, "OUT": tmp_path / "out"}
    shown = first_write(OURS, "terminal", *(places.get(argument, argument) for argument in arguments))
    assert shown.startswith("[] ")
    assert says in shown


@pytest.mark.parametrize("screen", ["terminal", "file"])
def test_mergekit_yaml_says_that_it_reads_the_recipe_before_lm_eval_is_imported(screen, recipe, tmp_path) -> None:
    shown = first_write(MERGEKITS, screen, recipe, tmp_path / "out")
    modules, _, text = shown.partition("]")
    assert "mergekit" in modules
    assert "lm_eval" not in modules
    assert "optuna" not in modules
    assert "eading sweep.yml" in text


def test_an_unknown_task_is_refused_before_anything_slow_is_imported(recipe, tmp_path) -> None:
    recipe.write_text(recipe.read_text().replace("- calib_demo", "- calib_dmo"))
    shown = first_write(OURS, "file", "sweep", recipe, tmp_path / "out")
    assert shown.startswith(f"[] Error: {recipe}: calibration.suite[0].task: lm-eval has no task, group or tag")
    assert "did you mean 'calib_demo'" in shown
    assert not (tmp_path / "out").exists()
