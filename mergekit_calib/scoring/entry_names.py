"""Names of suite entries in results: of an entry that is a YAML file, the name of the task or group in it.

Relies on lm-eval for `load_yaml`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm_eval.tasks._yaml_loader import load_yaml

from mergekit_calib.errors import RecipeError
from mergekit_calib.recipe import SuiteEntry
from mergekit_calib.results.findings import MACRO, SUITE, WORST
from mergekit_calib.scoring.known_tasks import is_file


def named_entries(entries: Sequence[SuiteEntry], source: str | None = None) -> list[SuiteEntry]:
    """Return the entries with the names that people read; no task is loaded.

    Args:
        entries: the suite, as in the recipe.
        source: the file that the entries were read from, for messages.

    Raises:
        RecipeError: two entries have the same name, or one has the name of a scope.
    """
    named = [entry.named(_name(entry.task)) for entry in entries]
    first: dict[str, SuiteEntry] = {}
    for i, entry in enumerate(named):
        key = f"calibration.suite[{i}].task"
        if entry.name in (SUITE, MACRO, WORST):
            problem = f"{entry.task} is named {entry.name!r}, as the metrics of all tasks together are; rename the task"
            raise RecipeError(key, problem, source)
        if entry.name in first:
            both = f"{first[entry.name].task} and {entry.task}"
            raise RecipeError(key, f"{both} have the same name, {entry.name!r}; leave one out, or rename one", source)
        first[entry.name] = entry
    return named


def file_config(path: str) -> dict[str, Any]:
    """Return the contents of a task's or group's YAML file, with its includes; empty if it cannot be read.

    Loading the task then raises an error that says why.
    """
    try:
        return dict(load_yaml(path, resolve_func=False))
    except Exception:  # a file may hold anything
        return {}


def _name(task: str) -> str:
    """Return the name of an entry's task in results; the path itself of a file that names neither task nor group."""
    config = file_config(task) if is_file(task) and Path(task).expanduser().is_file() else {}
    # A group's file lists its members under `task`.
    given = config.get("group") or config.get("task")
    return given if isinstance(given, str) else task
