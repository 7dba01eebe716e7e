"""What happens when a module of a host has been imported: the plugin is attached to it, or says why it is not."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable
from types import ModuleType

import wrapt

from mergekit_calib.errors import HostVersionError
from mergekit_calib.hosts.versions import RELIED_ON

# Module of a host → the function of ours, by module and name, that attaches the plugin to it.
ATTACH = {
    "mergekit.merge_methods": "mergekit_calib.hosts.mergekit:register_method",
    "mergekit.merge": "mergekit_calib.hosts.mergekit:wrap_run_merge",
    "mergekit.scripts.run_yaml": "mergekit_calib.hosts.mergekit:wrap_command",
    "lm_eval.tasks.manager": "mergekit_calib.hosts.lm_eval:wrap_task_manager",
}

_complained: set[str] = set()


def install() -> None:
    """Attach to every host module, now where it is imported already, else when it is."""
    for name, function in ATTACH.items():
        wrapt.register_post_import_hook(_guarded(function), name)


def _guarded(function: str) -> Callable[[ModuleType], None]:
    """A hook that leaves the host as it is, with one message a host, where it is not what is relied on."""
    home, _, name = function.partition(":")

    def hook(module: ModuleType) -> None:
        try:
            getattr(importlib.import_module(home), name)(module)
        except (HostVersionError, ImportError, AttributeError, TypeError) as problem:
            _complain(module.__name__.partition(".")[0].replace("_", "-"), problem)

    return hook


def _complain(host: str, problem: Exception) -> None:
    if host in _complained:
        return
    _complained.add(host)
    print(
        f"mergekit-calib: not active in {host} {importlib.metadata.version(host)} (made against {RELIED_ON[host]}): "
        f"{problem}. {host} itself works as without the plugin; MERGEKIT_CALIB_DISABLE=1 silences this.",
        file=sys.stderr,
    )
