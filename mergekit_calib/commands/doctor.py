"""Whether the plugin is active in this environment, and what it can see: a few lines for a puzzled user."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

from mergekit_calib.versions import RELIED_ON

# Asked of a new interpreter, because this one has loaded the plugin by another door.
_PROBE = """
import sys
import mergekit.merge, mergekit.merge_methods
names = [m.spec.name for m in mergekit.merge_methods.registered_methods()]
print("sweep" if hasattr(mergekit.merge.run_merge, "__wrapped__") else "-")
print("method" if "calibration_sweep" in names else "-")
"""
_PROBE_TASKS = """
import inspect, lm_eval.tasks.manager as m
print("tasks" if hasattr(m.TaskManager.__init__, "__wrapped__") else "-")
"""


def examine() -> tuple[list[str], bool]:
    """Lines to print, and whether everything is as it should be."""
    lines = [f"mergekit-calib {_version('mergekit-calib')} in {sys.prefix} (Python {sys.version.split()[0]})"]
    healthy = True
    for package, relied_on in RELIED_ON.items():
        found = _version(package)
        note = "" if found == relied_on else f"  (this plugin was made against {relied_on})"
        lines.append(f"{package} {found}{note}")
    lines.append(f"transformers {_version('transformers')}, torch {_version('torch')}, {_accelerators()}")
    if os.environ.get("MERGEKIT_CALIB_DISABLE") == "1":
        lines.append("✗ switched off: MERGEKIT_CALIB_DISABLE=1 is set")
        return lines, False
    start_up = [Path(p) / "mergekit_calib_autoload.pth" for p in sys.path if p]
    if not any(p.exists() for p in start_up):
        lines.append(
            "✗ the start-up file mergekit_calib_autoload.pth is not in this environment: install the package again"
        )
        healthy = False
    seen, complaints = _ask(_PROBE)
    checks = {
        "sweep": "mergekit-yaml runs recipes with a `calibration:` block as sweeps",
        "method": "merge_method: calibration_sweep is registered",
        "tasks": "lm_eval finds the calib_* tasks",
    }
    seen_tasks, more_complaints = _ask(_PROBE_TASKS)
    for key, meaning in checks.items():
        active = key in seen + seen_tasks
        healthy &= active
        lines.append(f"{'✓' if active else '✗'} {meaning}")
    return lines + [f"  {line}" for line in complaints + more_complaints], healthy


def _ask(program: str) -> tuple[list[str], list[str]]:
    """What a new interpreter prints, and what the plugin says there on standard error."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "mergekit-calib" in line or "Error" in line]
    return done.stdout.split(), said


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
