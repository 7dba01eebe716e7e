"""The command `doctor`: check whether mergekit-calib works in this environment, and list what it uses."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mergekit_calib
from mergekit_calib import plugins
from mergekit_calib.errors import CalibError
from mergekit_calib.integrations import SWITCH, is_switched_off
from mergekit_calib.versions import TESTED_WITH, tested_versions

START_UP_FILE = "mergekit_calib_autoload.pth"

_MEANINGS = {
    "sweep": "mergekit-yaml runs recipes with a `calibration:` block as sweeps",
    "method": "merge_method: calibration_sweep is registered",
    "tasks": "lm_eval finds the calib_* tasks",
    "metrics": "lm_eval computes ece, brier and the other metrics for any task that lists them",
    "model": "lm_eval has the model hf-prefix",
    "scoring": "sweeps and cards can score lm-eval's tasks",
}
"""Check of `host_checks` → what works if it succeeds."""


def examine(say: Callable[[str], None]) -> bool:
    """Pass each finding to `say` as soon as there is one, and return whether everything works."""
    say(f"mergekit-calib {_version('mergekit-calib')} in {sys.prefix} (Python {sys.version.split()[0]})")
    for package, tested in TESTED_WITH.items():
        installed = _version(package)
        note = "" if installed in tested else f"  (mergekit-calib was tested with {tested_versions(package)})"
        say(f"{package} {installed}{note}")
    say(f"transformers {_version('transformers')}, torch {_version('torch')}, {_accelerators()}")
    if is_switched_off():
        say(f"✗ switched off: {SWITCH}={os.environ[SWITCH]} is set; 0, false, no, off or nothing switches it on")
        return False
    lines, healthy = _plugins()
    for line in lines:
        say(line)
    problems, messages = _host_checks()
    if problems.pop("start-up", None):
        say(f"✗ {_why_not_started()}")
        healthy = False
    for check, meaning in _MEANINGS.items():
        problem = problems.get(check, "it could not be tried")
        healthy &= problem is None
        say(f"✓ {meaning}" if problem is None else f"✗ {meaning}: {problem}")
    for line in messages:
        say(f"  {line}")
    return healthy


def _plugins() -> tuple[list[str], bool]:
    """Return a line for each installed plugin, and whether all can be loaded."""
    try:
        installed = plugins.installed_plugins()
    except CalibError as problem:
        return [f"✗ {problem}"], False
    return [f"plugin {p.distribution} {p.version}: {', '.join(p.adds) or 'adds nothing'}" for p in installed], True


def _host_checks() -> tuple[dict[str, str | None], list[str]]:
    """Try the hooks in a new interpreter; return check → what is wrong, and the plugin's messages."""
    command = [sys.executable, "-m", "mergekit_calib.commands.host_checks"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    messages = [line for line in done.stderr.splitlines() if line.startswith("mergekit-calib:")]
    try:
        problems: dict[str, str | None] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):  # it ended before it could say anything
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message")
        return dict.fromkeys(_MEANINGS, last), messages
    return problems, messages


def _why_not_started() -> str:
    """Return why Python has not read the start-up file, and what helps."""
    home = Path(mergekit_calib.__file__).parents[1]
    if (home / START_UP_FILE).exists():
        return (
            f"{home / START_UP_FILE} was not read, because Python reads such files only in site-packages, not where "
            "`pip install --target` or PYTHONPATH leads. Without it, `mergekit-calib sweep` and `python -m "
            "mergekit_calib` work, and `import mergekit_calib_autoload` before the hosts makes the rest work; or "
            f"call site.addsitedir({str(home)!r}) in sitecustomize.py"
        )
    return f"the start-up file {START_UP_FILE} is not in this environment: install mergekit-calib again"


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
