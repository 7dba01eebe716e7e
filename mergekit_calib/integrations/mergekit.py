"""Add to mergekit the method `calibration_sweep`, and run recipes with a `calibration:` block as sweeps.

Relies on mergekit 0.1.5 for

- `merge.run_merge(merge_config, out_path, options, config_source)`;
- the click command `scripts.run_yaml.main`, with options made by `options.add_merge_options`;
- `merge_methods.register`, `get` and `registered_methods`, used in `merging/method.py`.
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
from mergekit_calib.integrations.boundary import boundary
from mergekit_calib.recipe import check_plain_short_form, has_calibration_block, is_short_form, text_of_sweep


def register_method(module: ModuleType) -> None:
    """Register `merge_method: calibration_sweep`."""
    from mergekit_calib.merging.method import register

    register()


def wrap_run_merge(module: ModuleType) -> None:
    """Let `run_merge` run a sweep if it is called with the text of a recipe that has a `calibration:` block.

    Args:
        module: `mergekit.merge`.

    Raises:
        HostVersionError: `run_merge` takes other arguments.
    """
    original = module.run_merge
    signature = inspect.signature(original)
    if list(signature.parameters)[:4] != ["merge_config", "out_path", "options", "config_source"]:
        raise HostVersionError(f"run_merge takes {', '.join(signature.parameters)}")

    # A plain function, since wrapt's proxies cannot be pickled, and worker processes are sent this function by name.
    @functools.wraps(original)
    def run_merge(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return original(*args, **kwargs)  # it raises the error itself, which says what is missing
        source = bound.get("config_source")
        if not source or not has_calibration_block(source):
            return original(*args, **kwargs)
        from mergekit_calib.integrations.recipe_runner import explain, run_source

        out_path = bound["out_path"]
        if status := run_source(source, out_path, bound["options"]):
            raise CalibError(explain(status, out_path))
        return None

    vars(module)["run_merge"] = run_merge


def wrap_command(module: ModuleType) -> None:
    """Let `mergekit-yaml` run a recipe with a `calibration:` block as a sweep.

    This happens before mergekit validates the recipe, so a field that must be a number can hold a placeholder.

    Args:
        module: `mergekit.scripts.run_yaml`.

    Raises:
        HostVersionError: the command has other parameters.
    """
    from mergekit.options import add_merge_options

    command = module.main
    original = command.callback
    names = {parameter.name for parameter in command.params}
    if not callable(original) or not {"config_file", "out_path", "cuda", "quiet"} <= names:
        raise HostVersionError(f"the command mergekit-yaml takes {', '.join(sorted(filter(None, names)))}")
    run_sweep = add_merge_options(_run_sweep)

    @functools.wraps(original)
    def callback(*args: Any, **kwargs: Any) -> Any:
        with boundary():
            file = str(kwargs.get("config_file"))
            text = _text_of(file)
            if has_calibration_block(text, file):
                return run_sweep(text=text, **kwargs)
            if is_short_form(text, file):
                _check_plain(text, file)
        try:
            return original(*args, **kwargs)
        except CalibError as problem:  # of a sweep that came through a pipe
            raise click.ClickException(str(problem)) from problem

    command.callback = callback


def _run_sweep(merge_options: Any, text: str, config_file: str, out_path: str) -> None:
    from mergekit_calib.integrations.recipe_runner import run_source

    merge_options.apply_global_options()
    status = run_source(text, out_path, merge_options, config_file)
    if status:
        sys.exit(status)


def _check_plain(text: str, file: str) -> None:
    """Check the keys of a plain merge with `calibration_sweep`, and print notes on them; mergekit ignores such keys."""
    from mergekit_calib.merging.method import register, registered_signatures
    from mergekit_calib.merging.recipe_keys import known_keys

    register()
    for note in check_plain_short_form(text, registered_signatures(), known_keys(), file):
        click.echo(note, err=True)


def _text_of(file: str) -> str:
    """Return the text of a recipe that may be a sweep; empty for any other, which mergekit reads itself.

    It is empty for a pipe too, which can be read only once: mergekit reads it and calls the wrapped `run_merge`.
    """
    path = Path(file)
    return text_of_sweep(path) if path.is_file() else ""
