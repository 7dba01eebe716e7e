"""lm-eval 0.5: scorers compute a task's metrics, one for each pipeline of filters.

Relied on in lm-eval 0.5.0.dev1: `Task._scorers`, each with a `name`, a `filter` and `metrics`; `Metric`, with a
function, options, an aggregation and a direction; `Scorer.score_instances`; `process_results`, which returns None where
the scorers shall compute the metrics; `api.metrics.stderr_for_metric`, which a scorer looks up when it
aggregates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from lm_eval.api import metrics as their_metrics
from lm_eval.api._utils import normalize_to_list
from lm_eval.api.metrics import Metric, mean
from lm_eval.api.task import MultipleChoiceTask, Task
from lm_eval.api.task._generation import GenerateTask
from lm_eval.config.templates import _coerce_list
from lm_eval.filters.selection import NoopFilter, TakeFirstFilter

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

LAST_FILTERS: tuple[type, ...] = (TakeFirstFilter, NoopFilter)
"""The filters at a pipeline's end which a filter that keeps every completion may replace."""


@dataclass(frozen=True)
class _OfChoices:
    """What a document with choices gives a metric of all documents together, as the function of a `Metric`."""

    metric: Any

    def __call__(self, references: Any, predictions: Any) -> Any:
        prompt = str(predictions.ctx)
        where = f"the document whose prompt ends with {prompt[-200:]!r}"
        return self.metric.of_log_likelihoods(references, [float(score) for score in predictions.lls], where)


@dataclass(frozen=True)
class _OfCompletions:
    """A metric of a prompt's completions, as the function of a `Metric`; no value for a single completion."""

    metric: Any

    def __call__(self, references: Any, predictions: Sequence[str]) -> dict[str, list[float]]:
        return {self.metric.name: [self.metric(predictions)]} if len(predictions) > 1 else {}


def _computed_by_the_task(references: Any, predictions: Any) -> Any:
    raise RuntimeError("the task's process_results computes this metric")


def registrable_pooled(metric: Any) -> Metric:
    """Return what lm-eval's registry of metrics holds for a metric of all documents together."""
    return Metric(
        name=metric.name,
        fn=_OfChoices(metric),
        aggregation=metric,
        higher_is_better=metric.higher_is_better,
        output_type={"multiple_choice"},
    )


def registrable_diversity(metric: Any) -> Metric:
    """Return what lm-eval's registry of metrics holds for a metric of a prompt's completions."""
    return Metric(
        name=metric.name,
        fn=_OfCompletions(metric),
        aggregation=mean,
        higher_is_better=metric.higher_is_better,
        output_type={"generate_until"},
    )


class _StandardErrors:
    """A task that knows the standard errors of our metrics, also without the plugin's hooks."""

    def aggregate(self, bootstrap_iters: int | None = 100000) -> tuple[dict[str, Any], int]:
        """Return the metrics of all pipelines, with standard errors, and the number of documents."""
        with _standard_errors():
            aggregated: tuple[dict[str, Any], int] = super().aggregate(bootstrap_iters)  # type: ignore[misc]
        return aggregated


@contextmanager
def _standard_errors() -> Iterator[None]:
    """Let our metrics compute their own standard errors within the `with` block; lm-eval resamples 100,000 times."""
    theirs = their_metrics.stderr_for_metric

    def stderr_for_metric(metric: Any, bootstrap_iters: int) -> Any:
        own = getattr(metric, "standard_error", None)
        if own is None or bootstrap_iters <= 0:
            return theirs(metric, bootstrap_iters)
        return partial(own, n_resamples=bootstrap_iters)

    their_metrics.stderr_for_metric = stderr_for_metric
    try:
        yield
    finally:
        their_metrics.stderr_for_metric = theirs


class GenerationTask(_StandardErrors, GenerateTask):  # type: ignore[misc]  # lm-eval has no types
    """The base class of tasks that generate."""


class ChoiceTask(_StandardErrors, MultipleChoiceTask):  # type: ignore[misc]
    """The base class of multiple-choice tasks that have metrics of all documents together.

    Attributes:
        pooled: name → such a metric, an aggregation; set by `add_pooled`.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.pooled: dict[str, Any] = {}
        super().__init__(config={"output_type": "multiple_choice", **config})
        if config.get("metric_list") == []:  # all that it listed are ours; lm-eval would take its defaults
            for scorer in self._scorers:
                scorer.metrics = []

    def add_pooled(self, pooled: Mapping[str, Any], scored: Callable[[Any, Any, Any], Any]) -> None:
        """Add metrics of all documents together; they replace metrics of lm-eval with the same names.

        Args:
            pooled: name → metric.
            scored: task, document, results → what the document gives the metrics.
        """
        self.pooled, self._scored = dict(pooled), scored
        for scorer in self._scorers:
            theirs = [metric for metric in scorer.metrics or [] if metric.name not in pooled]
            scorer.metrics = [*theirs, *map(registrable_pooled, pooled.values())]

    def process_results(self, doc: dict[str, Any], results: Sequence[Any]) -> dict[str, Any] | None:
        """Return the values of a document if the task's YAML computes them itself; else None."""
        own = super().process_results(doc, results)
        return with_values(own, lambda: dict.fromkeys(self.pooled, self._scored(self, doc, results)))


def listed(task: Any, kind: type) -> list[tuple[str, Any, dict[str, Any], Any]]:
    """Return name, metric, options and aggregation of the metrics of a class that a task's YAML lists."""
    return [
        (metric.name, metric.fn.metric, dict(metric.kwargs), metric.aggregation)
        for scorer in task._scorers
        for metric in scorer.metrics or []
        if isinstance(metric.fn, (_OfChoices, _OfCompletions)) and isinstance(metric.fn.metric, kind)
    ]


def set_pooled(task: Any, name: str, metric: Any) -> None:
    """Let a task compute a listed metric of all documents together by `metric`, which has its options."""
    for scorer in task._scorers:
        scorer.metrics = [registrable_pooled(metric) if m.name == name else m for m in scorer.metrics or []]


def set_averaged(task: Any, pipeline_names: Sequence[str], wanted: Mapping[str, Any]) -> None:
    """Let a task average metrics of a prompt's completions over its documents."""
    for scorer in task._scorers:
        theirs = [metric for metric in scorer.metrics or [] if metric.name not in wanted]
        keeps_all = scorer.name in pipeline_names
        scorer.metrics = [*theirs, *map(registrable_diversity, wanted.values() if keeps_all else ())]


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
    if not hasattr(task, "_exact_match"):  # else the metrics are set anew
        task._exact_match = task._scorers[0].metrics[0]
    given = [(name, mean, up) for name, up in averaged.items()]
    given += [(name, metric, metric.higher_is_better) for name, metric in pooled.items()]
    for scorer in task._scorers:
        if scorer.name in pipeline_names:
            scorer.metrics = [
                Metric(name, _computed_by_the_task, {}, aggregation, up, {"generate_until"})
                for name, aggregation, up in given
            ]


def metric_names(task: Any) -> set[str]:
    """Return the names of the metrics that a task's YAML lists."""
    return {metric.name for scorer in task._scorers for metric in scorer.metrics or []}


def averaged_metrics(task: Any) -> dict[str, list[str]]:
    """Return pipeline of filters → the metrics that lm-eval averages over documents."""
    return {
        scorer.name: [metric.name for metric in scorer.metrics or [] if metric.aggregation is mean]
        for scorer in task._scorers
    }


def document_values(task: Any, doc: Any, requests: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """Return pipeline of filters → metric → the value of a document whose requests hold filtered responses.

    Of several completions it is the value of the first, as in lm-eval 0.4.
    """
    values: dict[str, dict[str, Any]] = {}
    for scorer in task._scorers:
        own = task.process_results(doc, list(chain.from_iterable(r.filtered_resps[scorer.name] for r in requests)))
        if own is None:
            doc_id = requests[0].doc_id
            scores: Mapping[str, Any] = scorer.score_instances({doc_id: list(requests)})[doc_id].scores
            values[scorer.name] = {name: each[0] for name, each in scores.items() if len(each)}
        else:
            values[scorer.name] = {name: each[0] for name, each in normalize_to_list(own).items() if len(each) == 1}
    return values


def with_values(own: dict[str, Any] | None, more: Callable[[], Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return what `process_results` returns, with further values; None if the scorers compute them all."""
    return None if own is None else {**own, **{name: [value] for name, value in more().items()}}


def choices_and_target(task: Any, doc: Any) -> tuple[list[str], Any]:
    """Return a document's choices, and its label as the task's YAML gives it."""
    # A task with several inputs (WinoGrande) has them in place of several choices.
    choices = task.doc_to_text(doc) if task._multiple_inputs else task.doc_to_choice(doc)
    # The class's own method returns None for a label that is not among the choices.
    overridden = type(task).doc_to_target is not MultipleChoiceTask.doc_to_target
    return list(choices or []), task.doc_to_target(doc) if overridden else Task.doc_to_target(task, doc)


def measured_choices(choices: Sequence[str], requests: Sequence[Any]) -> list[str]:
    """Return the texts whose lengths `acc_norm` divides by: the choices as they were asked, with the delimiter."""
    return [request.args[1] for request in requests[: len(choices)]]


def pipelines(task: Any) -> list[Any]:
    """Return a task's pipelines of filters; each has a `name` and `filters`."""
    return [scorer.filter for scorer in task._scorers]


def completions_of(results: Sequence[Any]) -> list[str] | None:
    """Return all completions among what `process_results` is called with; None if a filter chose one."""
    return None if len(results) < 2 else list(results)


def is_correct(task: Any, doc: Any, answer: str) -> bool:
    """Return whether a generated answer is correct by the `exact_match` that the task's YAML lists."""
    target = task.doc_to_target(doc)
    # 0.5.0.dev1 reads a list of targets, as TriviaQA's, as one text unless the YAML has `multiple_targets`.
    targets = _coerce_list(target) if isinstance(target, str) else target
    return any(
        is_same_answer(task, answer, str(each)) for each in (targets if isinstance(targets, list) else [targets])
    )


def is_same_answer(task: Any, answer: str, other: str) -> bool:
    """Return whether two answers count as one by the `exact_match` that the task's YAML lists."""
    return bool(task._exact_match.compute([other], [answer])["exact_match"][0])


def sample_size(task: Any, limit: float | None) -> int | None:
    """Return how many of a task's documents `limit` stands for; None for all."""
    from lm_eval.evaluator_utils import _get_sample_size

    return None if limit is None else int(_get_sample_size(task, limit))


def prompt_prefix(task: Any, doc: Any) -> str | None:
    """Return the beginning of the answer that the prompt of a document ends with; None if there is none."""
    prefix: str | None = task._resolve_field(doc, task.config.gen_prefix)
    return prefix


def set_repeats(task: Any, repeats: int) -> None:
    """Let a task ask each of its requests several times; a task with choices asks once."""
    task.set_repeats(repeats)


def is_unsafe(task: Any) -> bool:
    """Return whether a task runs code that a model wrote."""
    return bool(getattr(task, "UNSAFE_CODE", False) or task.config.unsafe_code)


def shows_media(task: Any) -> bool:
    """Return whether a task shows images or plays audio."""
    return bool(task._multimodal)


def extend_tag(manager: Any, tag: str, tasks: set[str]) -> None:
    """Add tasks to a tag that a task manager knows."""
    manager._index[tag].tags |= tasks


def kept_templates() -> AbstractContextManager[None]:
    """Return an empty context: this lm-eval compiles each of a task's Jinja templates once."""
    return nullcontext()
