"""Add to lm-eval the tasks and metrics of `lm_eval_tasks/` and the model `hf-prefix`.

Relies on lm-eval 0.4.13 for

- `TaskManager.__init__(verbosity, include_path, include_defaults, metadata)`, which searches lm-eval's own folder first
  and lets later folders override it;
- `model_registry.register(name, target=)`, and the same method of the metric registries;
- `ConfigurableTask`, with a metric's function, arguments and aggregation in `_metric_fn_list`, `_metric_fn_kwargs` and
  `_aggregation_list`, and `process_results(doc, results)`;
- `evaluator_utils.stderr_for_metric(metric, bootstrap_iters)`.
"""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import wrapt

from lm_eval_tasks import TASKS_DIR
from mergekit_calib.errors import CalibError, HostVersionError

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


def register_metrics(_: ModuleType) -> None:
    """Let lm-eval find this plugin's metrics in the `metric_list` of any YAML; they replace no metric of lm-eval's own.

    Raises:
        HostVersionError: lm-eval has no such registries of metrics.
    """
    try:
        from lm_eval.api import registry

        metric_names, aggregations = registry.metric_registry, registry.aggregation_registry
        defaults, directions = registry.metric_agg_registry, registry.higher_is_better_registry
    except (ImportError, AttributeError) as problem:
        raise HostVersionError(str(problem)) from problem
    from lm_eval_tasks.completions import DIVERSITY, Diversity
    from lm_eval_tasks.pooled_metrics import POOLED_METRICS, PooledMetric

    ours: dict[str, PooledMetric | Diversity] = {**POOLED_METRICS, **DIVERSITY}
    for name, metric in ours.items():
        if name in metric_names or name in aggregations:
            continue
        metric_names.register(name, target=metric)
        directions.register(name, target=metric.higher_is_better)
        if name in POOLED_METRICS:
            aggregations.register(name, target=metric)
            defaults.register(name, target=metric)
        else:
            defaults.register(name, target=aggregations.get("mean"))


def wrap_configurable_task(module: ModuleType) -> None:
    """Let tasks that list this plugin's metrics in their YAML collect the data that these metrics are computed from.

    A multiple-choice task collects the scores of the choices of all documents. A generation task keeps all repeats; its
    other metrics get the first one, as without the plugin.

    Args:
        module: `lm_eval.api.task`.

    Raises:
        HostVersionError: `ConfigurableTask.process_results` takes other arguments.
    """
    signature = inspect.signature(module.ConfigurableTask.process_results)
    if list(signature.parameters) != ["self", "doc", "results"]:
        raise HostVersionError(f"ConfigurableTask.process_results takes {', '.join(signature.parameters)}")
    from lm_eval_tasks import completions
    from lm_eval_tasks.pooled_metrics import PooledMetric, scored_choices

    def pooled(task: Any) -> dict[str, PooledMetric]:
        return {name: metric for name, metric in task._metric_fn_list.items() if isinstance(metric, PooledMetric)}

    def init(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> None:
        wrapped(*args, **kwargs)
        for name, metric in pooled(instance).items():
            _check_metric(instance, name)
            instance._aggregation_list[name] = metric.with_options(instance._metric_fn_kwargs[name], instance.task_name)
        instance._completion_metrics = diversity_metrics = {}
        for name, metric in list(instance._metric_fn_list.items()):
            if isinstance(metric, completions.Diversity):
                diversity_metrics[name] = metric.with_options(instance._metric_fn_kwargs[name], instance.task_name)
                # lm-eval would call it with a target and one completion.
                del instance._metric_fn_list[name], instance._metric_fn_kwargs[name]
        if diversity_metrics:
            completions.measure_completions(instance, diversity_metrics)

    def process_results(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        doc, results = signature.bind(instance, *args, **kwargs).args[1:]
        if diversity_metrics := getattr(instance, "_completion_metrics", None):
            own_results = wrapped(doc, completions.as_lm_eval(results))
            return {**own_results, **completions.diversity_of(instance, diversity_metrics, results)}
        own_results, metrics = wrapped(doc, results), pooled(instance)
        if not metrics:
            return own_results
        return {**own_results, **dict.fromkeys(metrics, scored_choices(instance, doc, results))}

    wrapt.wrap_function_wrapper(module, "ConfigurableTask.__init__", init)
    wrapt.wrap_function_wrapper(module, "ConfigurableTask.process_results", process_results)


def wrap_standard_error(module: ModuleType) -> None:
    """Let lm-eval's table show the bootstrap standard error of this plugin's metrics.

    Args:
        module: `lm_eval.evaluator_utils`.

    Raises:
        HostVersionError: `stderr_for_metric` takes other arguments.
    """
    signature = inspect.signature(module.stderr_for_metric)
    if list(signature.parameters) != ["metric", "bootstrap_iters"]:
        raise HostVersionError(f"stderr_for_metric takes {', '.join(signature.parameters)}")
    from lm_eval_tasks.pooled_metrics import MOST_RESAMPLES, PooledMetric

    def stderr_for_metric(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
        metric, resamples = signature.bind(*args, **kwargs).args
        if not isinstance(metric, PooledMetric) or resamples <= 0:
            return wrapped(*args, **kwargs)
        return functools.partial(metric.standard_error, n_resamples=min(resamples, MOST_RESAMPLES))

    wrapt.wrap_function_wrapper(module, "stderr_for_metric", stderr_for_metric)


def _check_metric(task: Any, name: str) -> None:
    """Raise a CalibError if a task's YAML lists this plugin's metric `name` in a way that cannot be computed."""
    where = f"task {task.task_name}: metric_list: {name}"
    if task.OUTPUT_TYPE != "multiple_choice":
        raise CalibError(f"{where} needs `output_type: multiple_choice`, not {task.OUTPUT_TYPE}")
    metric = task._metric_fn_list[name]
    if task._aggregation_list[name] is not metric:
        problem = f"is computed from all documents together: leave `aggregation` out, or make it {name}"
        raise CalibError(f"{where} {problem}")


def _contains_ours(path: Path) -> bool:
    """Return whether a folder is this plugin's tasks folder or contains it, so that it must not be searched twice."""
    resolved = path.expanduser().resolve()
    return resolved == TASKS_DIR.resolve() or resolved in TASKS_DIR.resolve().parents
