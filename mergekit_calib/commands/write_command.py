"""`mergekit-calib write`: write another point of a finished sweep, or what another rule chooses."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from mergekit_calib.analysis.stored_sweep import StoredSweep
from mergekit_calib.errors import CalibError
from mergekit_calib.integrations.run_log import RunLog
from mergekit_calib.recipe.parent_roles import models_named
from mergekit_calib.report.terminal.console import ConsoleProgress
from mergekit_calib.results.events import ProgressGroup
from mergekit_calib.sweep.another_choice import choose_again

RECIPE = "recipe"
"""The value of `--rule` that lets the recipe's own rule choose again."""


def write_another(
    out: Path, point: str | None, rule: str | None, to: Path | None, as_adapter: bool = False, quiet: bool = False
) -> None:
    """Choose another point of the sweep in `out`, write its model, and print the answer.

    Args:
        out: the folder of a finished sweep.
        point: the point to write, by its name.
        rule: a selection rule, by its name or as YAML; `recipe` for the recipe's own.
        to: a new folder to write to; None to replace the model in `out`.
        as_adapter: write the scaled adapter of a `base+lora` recipe; needs `to`.
        quiet: print nothing but what the user must read.

    Raises:
        CalibError: as `choose_again`.
    """
    select = None if rule is None or rule.strip() == RECIPE else _select(rule)
    out, to = out.absolute(), None if to is None else to.absolute()
    stored = StoredSweep.load(out)
    console = ConsoleProgress(quiet=quiet, out_path=shown(to or out))
    run_log = RunLog(out, console.note)
    with where_the_models_are(stored), run_log, console:
        console.preparing("reading models and tasks")
        progress = ProgressGroup(run_log, console)
        frontier = choose_again(stored, point, select, to, progress, as_adapter)
    console.finished(frontier)


def _select(rule: str) -> dict[str, Any]:
    """Return a rule as a recipe's `select`."""
    try:
        given = yaml.safe_load(rule)
    except yaml.YAMLError as problem:
        raise CalibError(f"--rule {rule!r} is no YAML ({str(problem).splitlines()[0]})") from problem
    if isinstance(given, str):
        return {"rule": given}
    if not isinstance(given, dict) or not isinstance(given.get("rule"), str):
        example = "{rule: max, objective: acc, bounds: {ece: {max: 0.05}}}"
        raise CalibError(f"--rule {rule!r} is no rule; give its name, or as in a recipe: --rule '{example}'")
    return given


@contextlib.contextmanager
def where_the_models_are(stored: StoredSweep) -> Iterator[None]:
    """Work in the directory that the sweep was run in, if the recipe's relative paths lead to models only there."""
    directory = stored.record.get("directory")
    paths = [name.partition("+")[0] for name in models_named(stored.record.get("recipe"))]
    paths += map(str, stored.frontier.models.values())
    elsewhere = isinstance(directory, str) and any(
        not Path(path).exists() and (Path(directory) / path).exists() for path in paths
    )
    if not elsewhere:
        yield
        return
    before = Path.cwd()
    os.chdir(str(directory))
    try:
        yield
    finally:
        os.chdir(before)


def shown(path: Path) -> Path:
    """Return a path as a user would write it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
