"""Into lm-eval: the tasks of `lm_eval_tasks/`, found without `--include_path`, and the model `hf-prefix`.

Relied on in lm-eval 0.4.13: `TaskManager.__init__(verbosity, include_path, include_defaults, metadata)`, which searches
lm-eval's own folder first and lets later folders override it; `model_registry.register(name, target=)`.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import wrapt

from lm_eval_tasks import TASKS_DIR
from mergekit_calib.errors import HostVersionError

MODEL = "hf-prefix"


def wrap_task_manager(module: ModuleType) -> None:
    """Have every `TaskManager` search our tasks after lm-eval's own and before the user's.

    Raises:
        HostVersionError: `TaskManager` is not what it was.
    """
    signature = inspect.signature(module.TaskManager.__init__)
    if not {"include_path", "include_defaults"} <= set(signature.parameters):
        raise HostVersionError(f"TaskManager takes {', '.join(signature.parameters)}")

    def init(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> None:
        bound = inspect.signature(wrapped).bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments["include_path"]
        theirs = list(given) if isinstance(given, (list, tuple)) else [given] if given else []
        if bound.arguments["include_defaults"] and not any(_contains_ours(Path(p)) for p in theirs):
            bound.arguments["include_path"] = [str(TASKS_DIR), *theirs]
        wrapped(*bound.args, **bound.kwargs)
        instance.include_path = given

    wrapt.wrap_function_wrapper(module, "TaskManager.__init__", init)


def register_model(_: ModuleType) -> None:
    """Have `--model hf-prefix` found; our module is imported when it is asked for.

    Raises:
        HostVersionError: lm-eval's registry is not what it was.
    """
    try:
        from lm_eval.api.registry import model_registry
    except ImportError as problem:
        raise HostVersionError(str(problem)) from problem
    if MODEL not in model_registry:
        model_registry.register(MODEL, target="mergekit_calib.scoring.model:PrefixLM")


def _contains_ours(path: Path) -> bool:
    """Whether the user names our folder, or one that holds it, so that it must not be searched twice."""
    resolved = path.expanduser().resolve()
    return resolved == TASKS_DIR.resolve() or resolved in TASKS_DIR.resolve().parents
