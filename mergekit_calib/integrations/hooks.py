"""What happens when a module of a host has been imported: the plugin is attached to it, or says why it is not."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from types import ModuleType

import wrapt

from mergekit_calib.errors import HostVersionError
from mergekit_calib.versions import RELIED_ON

# Module of a host → the function of ours, by module and name, that attaches the plugin to it.
ATTACH = {
    "mergekit.merge_methods": "mergekit_calib.integrations.mergekit:register_method",
    "mergekit.merge": "mergekit_calib.integrations.mergekit:wrap_run_merge",
    "mergekit.scripts.run_yaml": "mergekit_calib.integrations.mergekit:wrap_command",
    "lm_eval.tasks.manager": "mergekit_calib.integrations.lm_eval:wrap_task_manager",
    "lm_eval.api.metrics": "mergekit_calib.integrations.lm_eval:register_metrics",
    "lm_eval.api.task": "mergekit_calib.integrations.lm_eval:wrap_configurable_task",
    "lm_eval.evaluator_utils": "mergekit_calib.integrations.lm_eval:wrap_standard_error",
    "lm_eval.models": "mergekit_calib.integrations.lm_eval:register_model",
}

_inactive: set[str] = set()


@functools.cache
def install() -> None:
    """Attach to every host module, now where it is imported already, else when it is; once in a process."""
    for package in sorted({name.partition(".")[0] for name in ATTACH}):
        wrapt.register_post_import_hook(_guarded(_look_round), package)
    for name, function in ATTACH.items():
        wrapt.register_post_import_hook(_guarded(functools.partial(_attach, function)), name)


def _guarded(step: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    """A hook that leaves a host alone from the first thing on that is not what is relied on, with one message."""

    def hook(module: ModuleType) -> None:
        host = module.__name__.partition(".")[0].replace("_", "-")
        if host in _inactive:
            return
        try:
            step(module)
        except Exception as problem:  # an exception here would stop the host's own import
            _inactive.add(host)
            _complain(host, problem)

    return hook


def _attach(function: str, module: ModuleType) -> None:
    home, _, name = function.partition(":")
    getattr(importlib.import_module(home), name)(module)


def _look_round(package: ModuleType) -> None:
    """Whether the modules that the hooks wait for are there at all; seen from their files, without importing them."""
    for name in ATTACH:
        top, *below = name.split(".")
        if top != package.__name__:
            continue
        places, so_far = package.__path__, top
        for part in below:
            so_far = f"{so_far}.{part}"
            spec = PathFinder.find_spec(so_far, places)
            if spec is None:
                raise HostVersionError(f"there is no module {so_far}")
            places = spec.submodule_search_locations or []


def _complain(host: str, problem: Exception) -> None:
    try:
        version = importlib.metadata.version(host)
    except importlib.metadata.PackageNotFoundError:
        version = "of unknown version"
    what = str(problem) if isinstance(problem, HostVersionError) else f"{type(problem).__name__}: {problem}"
    print(
        f"mergekit-calib: not active in {host} {version} (made against {RELIED_ON[host]}): {what}. "
        f"{host} itself works as without the plugin; MERGEKIT_CALIB_DISABLE=1 silences this.",
        file=sys.stderr,
    )
