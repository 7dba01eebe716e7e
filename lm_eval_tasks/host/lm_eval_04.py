"""lm-eval 0.4: a task computes its metrics in `process_results`, and names them in dicts of its own.

Relied on in lm-eval 0.4.13: a metric's function, options and aggregation in `_metric_fn_list`, `_metric_fn_kwargs` and
`_aggregation_list`, its direction in `_higher_is_better`; `_filters`; `multiple_input`; `utils.env`, which makes all
Jinja templates; `evaluator_utils.get_sample_size` and `stderr_for_metric`; `TaskManager.task_index`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import lm_eval.utils
from lm_eval.api.metrics import mean
from lm_eval.api.task import ConfigurableTask
from lm_eval.filters.selection import TakeFirstFilter

__all__ = [
    "LAST_FILTERS",
    "ChoiceTask",
    "GenerationTask",
    "averaged_metrics",
    "choices_and_target",
    "completions_of",
    "document_values",
    "extend_tag",
    "is_correct",
    "is_same_answer",
    "is_unsafe",
    "kept_templates",
    "listed",
    "measured_choices",
    "metric_names",
    "pipelines",
    "prompt_prefix",
    "registrable_diversity",
    "registrable_pooled",
    "sample_size",
    "set_averaged",
    "set_only_metrics",
    "set_pooled",
    "set_repeats",
    "shows_media",
    "with_values",
]

LAST_FILTERS: tuple[type, ...] = (TakeFirstFilter,)
"""The filters at a pipeline's end which a filter that keeps every completion may replace."""

GenerationTask = ConfigurableTask
"""The base class of tasks that generate."""

_KEPT_TEMPLATES = 256  # compiled templates; some tasks make one for each document


class ChoiceTask(ConfigurableTask):  # type: ignore[misc]  # lm-eval has no types
    """The base class of multiple-choice tasks that have metrics of all documents together.

    Attributes:
        pooled: name → such a metric, an aggregation; set by `add_pooled`.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.pooled: dict[str, Any] = {}
        # lm-eval looks metrics up by name unless a task processes its results itself, which this class does.
        super().__init__(config={"output_type": "multiple_choice", "process_results": "CalibrationTask", **config})

    def add_pooled(self, pooled: Mapping[str, Any], scored: Callable[[Any, Any, Any], Any]) -> None:
        """Add metrics of all documents together; they replace metrics of lm-eval with the same names.

        Args:
            pooled: name → metric.
            scored: task, document, results → what the document gives the metrics.
        """
        self._scored = scored
        for name, metric in pooled.items():
            self._metric_fn_list[name], self._metric_fn_kwargs[name] = metric, {}
            self._higher_is_better[name] = metric.higher_is_better
        self.pooled = _aggregations(pooled)
        self._aggregation_list |= self.pooled

    def process_results(self, doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, Any]:
        """Return lm-eval's own values of a document, and what the metrics of all documents need."""
        values: dict[str, Any] = super().process_results(doc, results)
        names = [name for name in self.pooled if name in self._aggregation_list]  # none, with --predict_only
        return {**values, **dict.fromkeys(names, self._scored(self, doc, results))} if names else values


def _aggregations(pooled: Mapping[str, Any]) -> dict[str, Any]:
    """Return lm-eval's aggregations of metrics; and of their standard errors, if lm-eval itself would show N/A.

    lm-eval knows the standard errors of its own metrics alone, unless the plugin's hooks are on. But a value that it
    aggregates by the name `ece_stderr` after `ece` takes the place of the N/A.
    """
    from lm_eval import evaluator_utils

    by_name: dict[str, Any] = {}
    for name, metric in pooled.items():
        by_name[name] = metric
        if evaluator_utils.stderr_for_metric(metric=metric, bootstrap_iters=1) is None:
            by_name[f"{name}_stderr"] = metric.as_standard_error()
    return by_name


def registrable_pooled(metric: Any) -> Any:
    """Return what lm-eval's registry of metrics holds for a metric of all documents together."""
    return metric


def registrable_diversity(metric: Any) -> Any:
    """Return what lm-eval's registry of metrics holds for a metric of a prompt's completions."""
    return metric


def listed(task: Any, kind: type) -> list[tuple[str, Any, dict[str, Any], Any]]:
    """Return name, metric, options and aggregation of the metrics of a class that a task's YAML lists."""
    return [
        (name, metric, task._metric_fn_kwargs[name], task._aggregation_list.get(name))
        for name, metric in task._metric_fn_list.items()
        if isinstance(metric, kind)
    ]


def set_pooled(task: Any, name: str, metric: Any) -> None:
    """Let a task compute a listed metric of all documents together by `metric`, which has its options."""
    task._aggregation_list[name] = metric


def set_averaged(task: Any, pipeline_names: Sequence[str], wanted: Mapping[str, Any]) -> None:
    """Let a task average metrics of a prompt's completions, which `process_results` returns, over its documents."""
    for name, metric in wanted.items():
        # lm-eval would call it with a target and one completion.
        task._metric_fn_list.pop(name, None)
        task._metric_fn_kwargs.pop(name, None)
        task._aggregation_list.setdefault(name, mean)
        if metric.higher_is_better is not None:
            task._higher_is_better.setdefault(name, metric.higher_is_better)


def set_only_metrics(
    task: Any, pipeline_names: Sequence[str], averaged: Mapping[str, bool | None], pooled: Mapping[str, Any]
) -> None:
    """Give a task metrics, which `process_results` returns, in place of its own.

    Args:
        task: the task.
        pipeline_names: the pipelines that keep every completion.
        averaged: metrics that are means over documents → whether more is better; None if neither.
        pooled: name → metric of all documents together.
    """
    task._aggregation_list = dict.fromkeys(averaged, mean) | _aggregations(pooled)
    task._higher_is_better = {name: up for name, up in averaged.items() if up is not None}
    task._higher_is_better |= {name: metric.higher_is_better for name, metric in pooled.items()}


def metric_names(task: Any) -> set[str]:
    """Return the names of the metrics that a task's YAML lists."""
    return set(task._metric_fn_list)


def averaged_metrics(task: Any) -> dict[str, list[str]]:
    """Return pipeline of filters → the metrics that lm-eval averages over documents."""
    averaged = [name for name, aggregation in task.aggregation().items() if aggregation is mean]
    return {pipeline.name: averaged for pipeline in pipelines(task)}


def document_values(task: Any, doc: Any, requests: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """Return pipeline of filters → metric → the value of a document whose requests hold filtered responses."""
    return {
        name: task.process_results(doc, [request.filtered_resps[name] for request in requests])
        for name in requests[0].filtered_resps
    }


def with_values(own: dict[str, Any], more: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return what `process_results` returns, with further values."""
    return {**own, **more()}


def choices_and_target(task: Any, doc: Any) -> tuple[list[str], Any]:
    """Return a document's choices, and its label as the task's YAML gives it."""
    # A task with several inputs (WinoGrande) has its label where others have their text.
    return list(task.doc_to_choice(doc)), task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)


def measured_choices(choices: Sequence[str], requests: Sequence[Any]) -> list[str]:
    """Return the texts whose lengths `acc_norm` divides by: the choices."""
    return list(choices)


def pipelines(task: Any) -> list[Any]:
    """Return a task's pipelines of filters; each has a `name` and `filters`."""
    return list(task._filters)


def completions_of(results: Sequence[Any]) -> list[str] | None:
    """Return all completions among what `process_results` is called with; None if a filter chose one."""
    return None if isinstance(results[0], str) else list(results[0])


def is_correct(task: Any, doc: Any, answer: str) -> bool:
    """Return whether a generated answer is correct by the `exact_match` that the task's YAML lists."""
    return bool(ConfigurableTask.process_results(task, doc, [answer])["exact_match"])


def is_same_answer(task: Any, answer: str, other: str) -> bool:
    """Return whether two answers count as one by the `exact_match` that the task's YAML lists."""
    options = task._metric_fn_kwargs["exact_match"]
    score = task._metric_fn_list["exact_match"](references=[other], predictions=[answer], **options)
    return bool(score["exact_match"] == 1.0)


def sample_size(task: Any, limit: float | None) -> int | None:
    """Return how many of a task's documents `limit` stands for; None for all."""
    from lm_eval.evaluator_utils import get_sample_size

    return None if limit is None else int(get_sample_size(task, limit))


def prompt_prefix(task: Any, doc: Any) -> str | None:
    """Return the beginning of the answer that the prompt of a document ends with; None if there is none."""
    prefix: str | None = task.doc_to_prefix(doc)
    return prefix


def set_repeats(task: Any, repeats: int) -> None:
    """Let a task ask each of its requests several times."""
    task.set_config(key="repeats", value=repeats)


def is_unsafe(task: Any) -> bool:
    """Return whether a task runs code that a model wrote."""
    return bool(getattr(task, "UNSAFE_CODE", False))


def shows_media(task: Any) -> bool:
    """Return whether a task shows images or plays audio."""
    return bool(getattr(task, "MULTIMODAL", False))


def extend_tag(manager: Any, tag: str, tasks: set[str]) -> None:
    """Add tasks to a tag that a task manager knows."""
    manager.task_index[tag].tags |= tasks


@contextmanager
def kept_templates() -> Iterator[None]:
    """Let lm-eval compile each of a task's Jinja templates once, within the `with` block.

    It compiles them again for every document, which takes most of the time of building requests.
    """
    environment: Any = lm_eval.utils.env
    compiled = functools.lru_cache(maxsize=_KEPT_TEMPLATES)(environment.from_string)
    environment.from_string = compiled
    try:
        yield
    finally:
        del environment.from_string  # the class's own method is found again
