"""Our metrics in the `metric_list` of anybody's YAML, which the plugin's hooks make possible.

A multiple-choice task collects the scores of the choices of all documents. A generation task keeps all repeats; its
other metrics get the first one, as without the plugin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lm_eval_tasks import host
from lm_eval_tasks.completions import Diversity, as_lm_eval, diversity_of, measure_completions
from lm_eval_tasks.pooled_metrics import PooledMetric, scored_choices
from mergekit_calib.errors import CalibError


def prepare(task: Any) -> None:
    """Make a task that was just built ready to compute the metrics of ours that its YAML lists.

    Raises:
        CalibError: one of them cannot be computed as it is listed.
    """
    if isinstance(task, host.ChoiceTask):
        return
    task._listed_pooled, task._listed_diversity = [], {}
    for name, metric, options, aggregation in host.listed(task, PooledMetric):
        _check_pooled(task, name, metric, aggregation)
        host.set_pooled(task, name, metric.with_options(options, task.task_name))
        task._listed_pooled.append(name)
    diversity = {
        name: metric.with_options(options, task.task_name) for name, metric, options, _ in host.listed(task, Diversity)
    }
    if diversity:
        measure_completions(task, diversity)
    task._listed_diversity = diversity


def lists_any(task: Any) -> bool:
    """Return whether a task's YAML lists metrics of ours, which `prepare` has found."""
    return bool(getattr(task, "_listed_pooled", None) or getattr(task, "_listed_diversity", None))


def process_results(task: Any, wrapped: Callable[[Any, Any], Any], doc: Any, results: Any) -> Any:
    """Return a document's values: lm-eval's own, and those of the metrics of ours that the task's YAML lists."""
    if diversity := task._listed_diversity:
        own = wrapped(doc, as_lm_eval(results))
        return host.with_values(own, lambda: diversity_of(task, diversity, results))
    own, pooled = wrapped(doc, results), task._listed_pooled
    if pooled[0] not in task.aggregation():  # --predict_only
        return own
    return host.with_values(own, lambda: dict.fromkeys(pooled, scored_choices(task, doc, results)))


def _check_pooled(task: Any, name: str, metric: PooledMetric, aggregation: Any) -> None:
    """Raise a CalibError if a task's YAML lists a metric of ours in a way that cannot be computed."""
    where = f"task {task.task_name}: metric_list: {name}"
    if task.OUTPUT_TYPE != "multiple_choice":
        raise CalibError(f"{where} needs `output_type: multiple_choice`, not {task.OUTPUT_TYPE}")
    if aggregation is not metric:
        problem = f"is computed from all documents together: leave `aggregation` out, or make it {name}"
        raise CalibError(f"{where} {problem}")
