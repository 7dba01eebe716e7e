"""`mergekit-calib write --check`: score a written model and its parents as they will be served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mergekit_calib.analysis.stored_sweep import StoredSweep
from mergekit_calib.commands.write_command import shown, where_the_models_are
from mergekit_calib.errors import CalibError
from mergekit_calib.integrations.run_log import RunLog
from mergekit_calib.report.terminal.console import ConsoleProgress
from mergekit_calib.results.events import ProgressGroup
from mergekit_calib.sweep.served_check import check_model_args, check_served

_EXAMPLE = "--check '{load_in_4bit: true}'"


def parsed_model_args(text: str) -> dict[str, Any]:
    """Return the arguments in the YAML of `--check`, checked.

    Raises:
        CalibError: it is no mapping, or models cannot be loaded so.
    """
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise CalibError(f"--check {text!r} is no YAML ({str(problem).splitlines()[0]}); as in {_EXAMPLE}") from problem
    if not isinstance(given, dict) or not given or not all(isinstance(name, str) for name in given):
        raise CalibError(f"--check {text!r} is no mapping of names to values; as in {_EXAMPLE}")
    check_model_args(given)
    return given


def check_as_served(out: Path, to: Path | None, model_args: Mapping[str, Any]) -> None:
    """Score the written model and its parents as they will be served, and print the table and the answer.

    Args:
        out: the folder of a finished sweep.
        to: the folder of the written model; None for `out`.
        model_args: arguments of lm-eval's `hf`.

    Raises:
        CalibError: as `check_served`.
    """
    out, target = out.absolute(), (to or out).absolute()
    stored = StoredSweep.load(out)
    console = ConsoleProgress(out_path=shown(target))
    run_log = RunLog(out, console.note)
    with where_the_models_are(stored), run_log, console:
        console.preparing("reading models and tasks")
        frontier = check_served(stored, target, model_args, ProgressGroup(run_log, console))
    console.finished(frontier)
