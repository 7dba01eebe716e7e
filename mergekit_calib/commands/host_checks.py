"""Try the plugin's hooks on the installed hosts, and print what was found as JSON.

`doctor` runs this module in an interpreter of its own (`python -m mergekit_calib.commands.host_checks`), because in its
own the hosts may have been imported before the hooks.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

START_UP_MODULE = "mergekit_calib_autoload"


def main(names: Sequence[str] = ()) -> None:
    """Print, on the last line, an object: check → None if it succeeds, else why it fails.

    Args:
        names: the checks; all if there are none.
    """
    checks: dict[str, Callable[[], None]] = {
        "start-up": _start_up,
        "sweep": lambda: _attached("mergekit.merge", "mergekit.scripts.run_yaml"),
        "method": _method,
        "tasks": lambda: _attached("lm_eval.tasks.manager"),
        "metrics": _metrics,
        "model": _model,
        "scoring": lambda: _import("mergekit_calib.scoring.suite"),
    }
    print("\n" + json.dumps({name: _problem(checks[name]) for name in names or checks}))


def _problem(check: Callable[[], None]) -> str | None:
    try:
        check()
    except Exception as problem:  # a changed host may raise anything
        return f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__
    return None


def _import(name: str) -> None:
    importlib.import_module(name)


def _start_up() -> None:
    if START_UP_MODULE not in sys.modules:
        raise RuntimeError("Python did not read the start-up file")


def _attached(*modules: str) -> None:
    """Raise an error unless the hooks are attached to all of some modules of a host."""
    package = modules[0].partition(".")[0]
    for name in (package, *modules):
        importlib.import_module(name)
        hooks: Any = sys.modules.get("mergekit_calib.integrations.hooks")
        if hooks is None:
            raise RuntimeError("the hooks are not loaded")
        if problem := hooks.inactive.get(package.replace("_", "-")):
            raise RuntimeError(problem)
    if missing := set(modules) - hooks.attached:
        raise RuntimeError(f"not attached to {', '.join(sorted(missing))}")


def _method() -> None:
    from mergekit import merge_methods

    _attached("mergekit.merge_methods")
    if "calibration_sweep" not in {method.spec.name for method in merge_methods.registered_methods()}:
        raise RuntimeError("it is not among mergekit's methods")


def _metrics() -> None:
    """Build a task of lm-eval that lists one of our metrics, and let it aggregate that."""
    _attached("lm_eval.api.metrics", "lm_eval.api.task")
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._yaml_loader import load_yaml

    from lm_eval_tasks import TASKS_DIR

    config = dict(load_yaml(TASKS_DIR / "calib_demo" / "calib_demo.yaml"))
    del config["class"]
    config |= {"task": "somebody_elses", "metric_list": [{"metric": "ece"}]}
    (task,) = TaskManager(include_defaults=False).load([config])["tasks"].values()
    if not task.aggregation()["ece"]([([0], [-1.0, -2.0]), ([1], [-1.0, -2.0])]) > 0:
        raise RuntimeError("ece is not computed")
    _attached("lm_eval.api.task")  # the hooks may have stood down only now


def _model() -> None:
    from lm_eval.api.registry import get_model

    _attached("lm_eval.models")
    get_model("hf-prefix")


if __name__ == "__main__":
    main(sys.argv[1:])
