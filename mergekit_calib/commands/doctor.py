"""The command `doctor`: check whether mergekit-calib works in this environment, and list what it uses."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mergekit_calib import plugins
from mergekit_calib.errors import CalibError
from mergekit_calib.versions import RELIED_ON

# These programs run in a new interpreter, because `mergekit-calib` itself has imported the package without the hooks.
_CHECK_MERGEKIT = """
import mergekit.merge, mergekit.merge_methods
names = [m.spec.name for m in mergekit.merge_methods.registered_methods()]
print("sweep" if hasattr(mergekit.merge.run_merge, "__wrapped__") else "-")
print("method" if "calibration_sweep" in names else "-")
"""
_CHECK_LM_EVAL = """
import lm_eval.tasks.manager as m
print("tasks" if hasattr(m.TaskManager.__init__, "__wrapped__") else "-")
"""
_MEANINGS = {
    "sweep": "mergekit-yaml runs recipes with a `calibration:` block as sweeps",
    "method": "merge_method: calibration_sweep is registered",
    "tasks": "lm_eval finds the calib_* tasks",
}


def examine(say: Callable[[str], None]) -> bool:
    """Pass each finding to `say` as soon as there is one, and return whether everything works."""
    say(f"mergekit-calib {_version('mergekit-calib')} in {sys.prefix} (Python {sys.version.split()[0]})")
    for package, supported in RELIED_ON.items():
        installed = _version(package)
        note = "" if installed == supported else f"  (mergekit-calib was tested with {supported})"
        say(f"{package} {installed}{note}")
    say(f"transformers {_version('transformers')}, torch {_version('torch')}, {_accelerators()}")
    if os.environ.get("MERGEKIT_CALIB_DISABLE") == "1":
        say("✗ switched off: MERGEKIT_CALIB_DISABLE=1 is set")
        return False
    lines, healthy = _plugins()
    for line in lines:
        say(line)
    if not any((Path(folder) / "mergekit_calib_autoload.pth").exists() for folder in sys.path if folder):
        missing = "the start-up file mergekit_calib_autoload.pth is not in this environment"
        say(f"✗ {missing}: install mergekit-calib again")
        healthy = False
    active, messages = _run(_CHECK_MERGEKIT)
    more_active, more_messages = _run(_CHECK_LM_EVAL)
    for key, meaning in _MEANINGS.items():
        is_active = key in active + more_active
        healthy &= is_active
        say(f"{'✓' if is_active else '✗'} {meaning}")
    for line in messages + more_messages:
        say(f"  {line}")
    return healthy


def _plugins() -> tuple[list[str], bool]:
    """Return a line for each installed plugin, and whether all can be loaded."""
    try:
        installed = plugins.installed_plugins()
    except CalibError as problem:
        return [f"✗ {problem}"], False
    return [f"plugin {p.distribution} {p.version}: {', '.join(p.adds) or 'adds nothing'}" for p in installed], True


def _run(program: str) -> tuple[list[str], list[str]]:
    """Run a program in a new interpreter; return the words that it prints, and its lines about errors."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines() if "mergekit-calib" in line or "Error" in line]
    return done.stdout.split(), errors


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _accelerators() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}"
    return "no GPU: models are scored on the CPU"
