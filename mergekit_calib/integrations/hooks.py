"""Attach the plugin to mergekit's and lm-eval's modules when they are imported, or say why it is not active.

What the hooks rely on in mergekit and lm-eval is listed in `integrations/mergekit.py` and
`integrations/lm_eval.py`. Each hook checks it. If a host has changed, the plugin prints one message and leaves
that host alone: a host must always work as it does without the plugin.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from types import ModuleType

import wrapt

from mergekit_calib.errors import HostVersionError
from mergekit_calib.versions import installed_version, tested_versions, version_problem

ATTACH = {
    "mergekit.merge_methods": "mergekit_calib.integrations.mergekit:register_method",
    "mergekit.merge": "mergekit_calib.integrations.mergekit:wrap_run_merge",
    "mergekit.scripts.run_yaml": "mergekit_calib.integrations.mergekit:wrap_command",
    "lm_eval.tasks.manager": "mergekit_calib.integrations.lm_eval:wrap_task_manager",
    "lm_eval.api.metrics": "mergekit_calib.integrations.lm_eval:add_to_metrics",
    "lm_eval.api.task": "mergekit_calib.integrations.lm_eval:wrap_task",
    "lm_eval.models": "mergekit_calib.integrations.lm_eval:register_model",
}
"""Module of a host → the function, as `module:name`, that attaches the plugin to it."""

attached: set[str] = set()
"""The modules that the plugin is attached to."""

inactive: dict[str, str] = {}
"""Host that is left alone → why."""


@functools.cache
def install() -> None:
    """Attach to every host module: now if it is imported already, else when it is. Further calls do nothing."""
    for package in sorted({name.partition(".")[0] for name in ATTACH}):
        wrapt.register_post_import_hook(_guarded(_check_modules_exist), package)
    for name, function in ATTACH.items():
        wrapt.register_post_import_hook(_guarded(functools.partial(_attach, function)), name)


def stand_down(host: str, problem: Exception) -> None:
    """Leave a host alone from now on, and print why, once.

    Args:
        host: `mergekit` or `lm-eval`.
        problem: what went wrong.
    """
    if host in inactive:
        return
    reason = str(problem) if isinstance(problem, HostVersionError) else f"{type(problem).__name__}: {problem}"
    inactive[host] = reason
    version = installed_version(host) or "of unknown version"
    print(
        f"mergekit-calib: not active in {host} {version} (made for {tested_versions(host)}): {reason}. "
        f"{host} works as without the plugin; set MERGEKIT_CALIB_DISABLE=1 to hide this message.",
        file=sys.stderr,
    )


def _guarded(step: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    """Return a hook that runs `step`; after the first problem with a host, no hook changes that host any more."""

    def hook(module: ModuleType) -> None:
        host = module.__name__.partition(".")[0].replace("_", "-")
        if host in inactive:
            return
        try:
            if problem := version_problem(host):
                raise HostVersionError(problem)
            step(module)
        except Exception as problem:  # an exception here would stop the host's own import
            stand_down(host, problem)

    return hook


def _attach(function: str, module: ModuleType) -> None:
    home, _, name = function.partition(":")
    getattr(importlib.import_module(home), name)(module)
    attached.add(module.__name__)


def _check_modules_exist(package: ModuleType) -> None:
    """Check that the modules that hooks wait for exist, by looking for their files.

    Raises:
        HostVersionError: one does not exist.
    """
    for name in ATTACH:
        top, *submodules = name.split(".")
        if top != package.__name__:
            continue
        search_path, full_name = package.__path__, top
        for submodule in submodules:
            full_name = f"{full_name}.{submodule}"
            spec = PathFinder.find_spec(full_name, search_path)
            if spec is None:
                raise HostVersionError(f"there is no module {full_name}")
            search_path = spec.submodule_search_locations or []
