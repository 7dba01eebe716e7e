"""Into mergekit: the registered method, and recipes with a `calibration:` block on their way to `run_merge`.

Relied on in mergekit 0.1.5: `merge.run_merge(merge_config, out_path, options, config_source)`, and the click command
`scripts.run_yaml.main` with options made by `options.add_merge_options`.
"""

from __future__ import annotations

import functools
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from mergekit_calib.errors import CalibError, HostVersionError
from mergekit_calib.recipe import has_calibration_block


def register_method(module: ModuleType) -> None:
    """`merge_method: calibration_sweep`, a merge method like any other."""
    from mergekit_calib.merging.method import register

    register()


def wrap_run_merge(module: ModuleType) -> None:
    """Programs that call `run_merge` with a recipe's text: a `calibration:` block in it makes the merge a sweep.

    Raises:
        HostVersionError: `run_merge` is not what it was.
    """
    original = module.run_merge
    signature = inspect.signature(original)
    if list(signature.parameters)[:4] != ["merge_config", "out_path", "options", "config_source"]:
        raise HostVersionError(f"run_merge takes {', '.join(signature.parameters)}")

    # A function, where wrapt has proxies: they cannot be pickled, and worker processes are sent this one by name.
    @functools.wraps(original)
    def run_merge(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return original(*args, **kwargs)  # which says what is missing
        source = bound.get("config_source")
        if not source or not has_calibration_block(source):
            return original(*args, **kwargs)
        from mergekit_calib.integrations.recipe_runner import run_source

        if run_source(source, bound["out_path"], bound["options"]):
            raise CalibError("some points failed; calibration/frontier.json says why")
        return None

    vars(module)["run_merge"] = run_merge


def wrap_command(module: ModuleType) -> None:
    """`mergekit-yaml`: a recipe with a `calibration:` block goes to the coordinator with its file's name.

    This comes before mergekit validates the recipe, so a placeholder may stand in a field that must be a number.

    Raises:
        HostVersionError: the command is not what it was.
    """
    from mergekit.options import add_merge_options

    command = module.main
    original = command.callback
    names = {parameter.name for parameter in command.params}
    if not callable(original) or not {"config_file", "out_path", "cuda", "quiet"} <= names:
        raise HostVersionError("the command mergekit-yaml is made otherwise than it was")
    run_sweep = add_merge_options(_run_sweep)

    @functools.wraps(original)
    def callback(*args: Any, **kwargs: Any) -> Any:
        try:
            text = _text_of(kwargs.get("config_file"))
            return run_sweep(text=text, **kwargs) if has_calibration_block(text) else original(*args, **kwargs)
        except CalibError as problem:
            raise click.ClickException(str(problem)) from problem

    command.callback = callback


def _run_sweep(merge_options: Any, text: str, config_file: str, out_path: str) -> None:
    from mergekit_calib.integrations.recipe_runner import run_source

    merge_options.apply_global_options()
    status = run_source(text, out_path, merge_options, config_file)
    if status:
        sys.exit(status)


def _text_of(file: str | None) -> str:
    """The recipe's text; empty where it cannot be read, which mergekit then says in its own way.

    Empty, too, for a pipe: what is read from it here is gone for mergekit, which hands the text on to `run_merge`.
    """
    path = Path(file or "")
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError):
        return ""
