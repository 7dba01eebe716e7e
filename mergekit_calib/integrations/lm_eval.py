"""Add to lm-eval the tasks and metrics of `lm_eval_tasks/` and the model `hf-prefix`.

Nothing of ours but this module and the names of the metrics is imported here: a task that lists one of our metrics, or
the model when it is used, imports the rest. Relies on lm-eval 0.4.13 and 0.5.0.dev1 for

- `TaskManager.__init__(verbosity, include_path, include_defaults, metadata)`, which searches lm-eval's own folder first
  and lets later folders override it;
- `register(name, target=)` of the registries of models, metrics and aggregations, which read a target "module:name"
  when it is asked for; in 0.4 also those of default aggregations and directions;
- `ConfigurableTask.__init__(…, config)` and `process_results(doc, results)`;
- `api.metrics.stderr_for_metric(metric, bootstrap_iters)`, which in 0.4 `evaluator_utils` imports by name.

What is done in a task is in `lm_eval_tasks/host/`, for each version.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import wrapt

from lm_eval_tasks import TASKS_DIR, registered
from mergekit_calib.errors import CalibError, HostVersionError
from mergekit_calib.integrations import hooks

MODEL = "hf-prefix"


def wrap_task_manager(module: ModuleType) -> None:
    """Let every `TaskManager` search this plugin's tasks after lm-eval's own and before the user's.

    Args:
        module: `lm_eval.tasks.manager`.

    Raises:
        HostVersionError: `TaskManager` takes other arguments.
    """
    signature = inspect.signature(module.TaskManager.__init__)
    if not {"include_path", "include_defaults"} <= set(signature.parameters):
        raise HostVersionError(f"TaskManager takes {', '.join(signature.parameters)}")

    def init(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> None:
        bound = inspect.signature(wrapped).bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments["include_path"]
        user_folders = list(given) if isinstance(given, (list, tuple)) else [given] if given else []
        if bound.arguments["include_defaults"] and not any(_contains_ours(Path(p)) for p in user_folders):
            bound.arguments["include_path"] = [str(TASKS_DIR), *user_folders]
        wrapped(*bound.args, **bound.kwargs)
        instance.include_path = given

    wrapt.wrap_function_wrapper(module, "TaskManager.__init__", init)


def register_model(_: ModuleType) -> None:
    """Let lm-eval find `--model hf-prefix`; its module is imported when it is used.

    Raises:
        HostVersionError: lm-eval has no such registry of models.
    """
    try:
        from lm_eval.api.registry import model_registry
    except ImportError as problem:
        raise HostVersionError(str(problem)) from problem
    if MODEL not in model_registry:
        model_registry.register(MODEL, target="mergekit_calib.prefix_lm.model:PrefixLM")


def add_to_metrics(module: ModuleType) -> None:
    """Register this plugin's metrics and their standard errors.

    Args:
        module: `lm_eval.api.metrics`.

    Raises:
        HostVersionError: its functions or lm-eval's registries have changed.
    """
    wrap_standard_error(module)
    register_metrics(module)


def register_metrics(_: ModuleType) -> None:
    """Let lm-eval find this plugin's metrics in the `metric_list` of any YAML; they replace no metric of lm-eval's own.

    Raises:
        HostVersionError: lm-eval has no such registries of metrics.
    """
    try:
        from lm_eval.api import registry

        metric_names, aggregations = registry.metric_registry, registry.aggregation_registry
        # Since 0.5 the registered metric itself holds its aggregation and direction.
        defaults = getattr(registry, "metric_agg_registry", None)
        directions = None if defaults is None else registry.higher_is_better_registry
    except (ImportError, AttributeError) as problem:
        raise HostVersionError(str(problem)) from problem
    for name, more_is_better in {**registered.POOLED, **registered.DIVERSITY}.items():
        if name in metric_names or name in aggregations:
            continue
        is_pooled = name in registered.POOLED
        target = f"{registered.__name__}:{name}"
        metric_names.register(name, target=target)
        if is_pooled:
            aggregations.register(name, target=f"{target}_of_all" if defaults is None else target)
        if defaults is not None and directions is not None:
            defaults.register(name, target=target if is_pooled else aggregations.get("mean"))
            directions.register(name, target=more_is_better)


def wrap_task(module: ModuleType) -> None:
    """Let tasks that list this plugin's metrics in their YAML collect the data that these metrics are computed from.

    Args:
        module: `lm_eval.api.task`.

    Raises:
        HostVersionError: `ConfigurableTask.process_results` takes other arguments, or `__init__` no `config`.
    """
    task_class = module.ConfigurableTask
    signature, init_signature = inspect.signature(task_class.process_results), inspect.signature(task_class.__init__)
    if list(signature.parameters) != ["self", "doc", "results"]:
        raise HostVersionError(f"ConfigurableTask.process_results takes {', '.join(signature.parameters)}")
    if "config" not in init_signature.parameters:
        raise HostVersionError(f"ConfigurableTask takes {', '.join(init_signature.parameters)}")

    def init(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> None:
        with _standing_down():
            _make_listed(init_signature.bind_partial(instance, *args, **kwargs).arguments.get("config"))
        wrapped(*args, **kwargs)
        if "lm_eval_tasks.pooled_metrics" in sys.modules:  # else no task can hold a metric of ours
            with _standing_down():
                from lm_eval_tasks import listed_metrics

                listed_metrics.prepare(instance)

    def process_results(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        listed_metrics = sys.modules.get("lm_eval_tasks.listed_metrics")
        if listed_metrics is None or not listed_metrics.lists_any(instance):
            return wrapped(*args, **kwargs)
        doc, results = signature.bind(instance, *args, **kwargs).args[1:]
        return listed_metrics.process_results(instance, wrapped, doc, results)

    wrapt.wrap_function_wrapper(module, "ConfigurableTask.__init__", init)
    wrapt.wrap_function_wrapper(module, "ConfigurableTask.process_results", process_results)


def wrap_standard_error(module: ModuleType) -> None:
    """Let lm-eval's table show the bootstrap standard error of this plugin's metrics.

    Args:
        module: `lm_eval.api.metrics`.

    Raises:
        HostVersionError: `stderr_for_metric` takes other arguments.
    """
    original = module.stderr_for_metric
    signature = inspect.signature(original)
    if list(signature.parameters) != ["metric", "bootstrap_iters"]:
        raise HostVersionError(f"stderr_for_metric takes {', '.join(signature.parameters)}")

    def stderr_for_metric(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
        metric, resamples = signature.bind(*args, **kwargs).args
        pooled_metrics = sys.modules.get("lm_eval_tasks.pooled_metrics")  # else it is no metric of ours
        if pooled_metrics is None or not isinstance(metric, pooled_metrics.PooledMetric) or resamples <= 0:
            return wrapped(*args, **kwargs)
        return functools.partial(metric.standard_error, n_resamples=resamples)

    wrapt.wrap_function_wrapper(module, "stderr_for_metric", stderr_for_metric)
    user = sys.modules.get("lm_eval.evaluator_utils")
    if user is not None and vars(user).get("stderr_for_metric") is original:  # it was imported before the hooks
        vars(user)["stderr_for_metric"] = module.stderr_for_metric


@contextmanager
def _standing_down() -> Iterator[None]:
    """Leave lm-eval alone from now on if what is done within the `with` block no longer fits it.

    A mistake in a task's YAML is still an error, as one in lm-eval's own metrics is.
    """
    try:
        yield
    except CalibError:
        raise
    except Exception as problem:
        hooks.stand_down("lm-eval", problem)


def _make_listed(config: Any) -> None:
    """Make the aggregations of ours that a task's configuration lists.

    lm-eval 0.4 looks a default aggregation's name up by the object, among objects and strings of those not made yet.
    """
    from lm_eval.api.registry import aggregation_registry

    settings = config if isinstance(config, Mapping) else vars(config) if hasattr(config, "__dict__") else {}
    for entry in settings.get("metric_list") or []:
        name = entry.get("metric") if isinstance(entry, Mapping) else None
        if isinstance(name, str) and name in registered.POOLED:
            aggregation_registry.get(name)


def _contains_ours(path: Path) -> bool:
    """Return whether a folder is this plugin's tasks folder or contains it, so that it must not be searched twice."""
    resolved = path.expanduser().resolve()
    return resolved == TASKS_DIR.resolve() or resolved in TASKS_DIR.resolve().parents
