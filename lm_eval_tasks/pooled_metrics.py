"""The registered metrics as lm-eval's aggregations: computed over all documents of a task, with a standard error.

Relied on in lm-eval: an aggregation is called with the list of what each document gave; metrics are aggregated in the
order in which the first document names them; `{name}_stderr` is what the table shows after ±.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lm_eval_tasks import host
from lm_eval_tasks.labels import LabelError, labels_among, warn_of_unlabelled
from mergekit_calib import metrics
from mergekit_calib.errors import CalibError
from mergekit_calib.items.metric_registry import IN_ORDER_OF_SUBJECTS, Metric, MetricContext
from mergekit_calib.items.table import ItemTable, choice_table, confidence_table

ScoredChoices = tuple[Sequence[int], Sequence[float]]
"""What a document with choices gives a metric: the numbers of its correct choices, and all choices' log-likelihoods."""

ScoredAnswer = tuple[float, bool]
"""What a document with one answer gives a metric: the confidence in the answer, and whether it is correct."""

MOST_RESAMPLES = 1000
"""The largest number of resamples for a standard error; more (lm-eval's default is 100,000) change no digit shown."""


def table_of_choices(items: Sequence[ScoredChoices], task: str = "task") -> ItemTable:
    """Return the item table of documents with choices.

    A document without a label among its choices is left out with a warning, since no probability of its label is known;
    lm-eval counts it as wrong in `acc`.

    Args:
        items: one for each document.
        task: the name of the task, for the warning.

    Raises:
        ValueError: no document has a label among its choices.
    """
    labelled = [(labels, scores) for labels, scores in items if labels]
    if not labelled:
        raise ValueError(f"{task}: no document has a label among its choices")
    if len(labelled) < len(items):
        warn_of_unlabelled(task, len(items) - len(labelled), len(items))
    labels, log_likelihoods = zip(*labelled, strict=True)
    return choice_table(log_likelihoods, labels)


def table_of_answers(items: Sequence[ScoredAnswer], task: str = "task") -> ItemTable:
    """Return the item table of documents with one answer each, given with a confidence.

    Args:
        items: one for each document.
        task: the name of the task; not used.
    """
    confidences, correct = zip(*items, strict=True)
    return confidence_table(confidences, correct)


@dataclass(frozen=True, eq=False)
class PooledMetric:
    """A registered metric as an aggregation of lm-eval: called with what each document gave, it returns a number.

    Attributes:
        metric: the registered metric.
        context: its options, as a task's `metric_list` sets them.
        task: the name of the task, for warnings.
        table_of: what the documents gave, and the task's name → their item table.
    """

    metric: Metric
    context: MetricContext = field(default_factory=MetricContext)
    task: str = "task"
    table_of: Callable[[Sequence[Any], str], ItemTable] = table_of_choices

    @property
    def name(self) -> str:
        """The metric's name in `metric_list`."""
        return self.metric.name

    @property
    def higher_is_better(self) -> bool:
        """The metric's direction, as lm-eval shows it."""
        return self.metric.direction == "maximize"

    @property
    def __name__(self) -> str:
        """The metric's name, by which lm-eval tells aggregations apart."""
        return self.name

    def __call__(self, items: Sequence[Any]) -> float:
        """Return the metric; NaN where it is not defined, as `auroc` of answers that are all correct."""
        statistic = self._statistic(items)
        return float("nan") if statistic is None else statistic.value()

    def standard_error(self, items: Sequence[Any], n_resamples: int = MOST_RESAMPLES) -> float:
        """Return the standard deviation of the metric over resampled documents; NaN where it is not defined.

        Args:
            items: what each document gave.
            n_resamples: the number of resamples; at most MOST_RESAMPLES are taken.
        """
        statistic = self._statistic(items)
        if statistic is None:
            return float("nan")
        return metrics.bootstrap({self.name: statistic}, n_resamples=min(n_resamples, MOST_RESAMPLES))[
            self.name
        ].standard_error

    def with_options(self, options: Mapping[str, Any], task: str) -> PooledMetric:
        """Return the metric for a task, with the options that the task's `metric_list` gives it.

        Raises:
            CalibError: the metric does not have one of the options.
        """
        check_options(self.name, options, self.metric.options, task)
        return replace(self, context=replace(self.context, **options), task=task)

    def as_standard_error(self) -> StandardError:
        """Return the metric's standard error, as an aggregation of its own."""
        return StandardError(self)

    def of_log_likelihoods(self, label: Any, log_likelihoods: Sequence[float], where: str) -> ScoredChoices:
        """Return what a document with choices gives the metric.

        Args:
            label: the number of the correct choice, or a list of them; without one among the choices, the document has
                no numbers.
            log_likelihoods: (n_choices,) in nats.
            where: which document of the task it is, for messages.

        Raises:
            CalibError: the log-likelihoods make no probabilities: one is not a number, or all are −inf.
        """
        _check_log_likelihoods(log_likelihoods, lambda: f"task {self.task}, {where}")
        try:
            return labels_among(label, [""] * len(log_likelihoods)), log_likelihoods
        except LabelError:
            return [], log_likelihoods

    def _statistic(self, items: Sequence[Any]) -> metrics.Statistic | None:
        return self.metric.statistic(self.table_of(items, self.task), self.context)


def check_options(metric: str, options: Iterable[str], known: Sequence[str], task: str) -> None:
    """Raise an error if a `metric_list` gives a metric an option that it does not have.

    Raises:
        CalibError: names the option, and those that the metric has.
    """
    for option in options:
        if option not in known:
            takes = ", ".join(known) or "none"
            raise CalibError(f"task {task}: metric_list: {metric} has no option {option!r}; it takes {takes}")


@dataclass(frozen=True, eq=False)
class StandardError:
    """The standard error of a metric, as an aggregation; N/A for one document, as for lm-eval's own metrics."""

    metric: PooledMetric

    @property
    def __name__(self) -> str:
        """The name that lm-eval's table shows after ±."""
        return f"{self.metric.name}_stderr"

    def __call__(self, items: Sequence[Any]) -> float | str:
        """Return the standard error."""
        return self.metric.standard_error(items) if len(items) > 1 else "N/A"


def scored_choices(task: Any, doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> ScoredChoices:
    """Return the numbers of a document's correct choices, and the log-likelihood of each choice in nats.

    There are no numbers if the document has no label among its choices.

    Args:
        task: an lm-eval task with `output_type: multiple_choice`.
        doc: one of its documents.
        results: (n_choices or more,) a log-likelihood, and whether the choice is the greedy continuation.

    Raises:
        CalibError: the log-likelihoods make no probabilities: one is not a number, or all are −inf.
    """
    choices, label = host.choices_and_target(task, doc)
    # There are more results than choices if lm-eval also scores the choices without the question (acc_mutual_info).
    scores = [score for score, _ in results][: len(choices)]
    _check_log_likelihoods(scores, lambda: f"task {task.task_name}, document {_position(task, doc)}")
    try:
        return labels_among(label, choices), scores
    except LabelError:
        return [], scores


def _check_log_likelihoods(scores: Sequence[float], where: Callable[[], str]) -> None:
    """Raise a CalibError if the log-likelihoods of a document's choices make no probabilities."""
    if np.isnan(scores).any() or np.isneginf(scores).all():
        raise CalibError(
            f"{where()}: the log-likelihoods of its choices are {', '.join(map(str, scores))}; they make no "
            "probabilities. Half precision can overflow: try another dtype"
        )


def _position(task: Any, doc: dict[str, Any]) -> str:
    """Return the number of a document among its task's, as sample logs number them; else the start of its text."""
    return next((str(i) for i, other in enumerate(task.eval_docs) if other == doc), f"{str(doc)[:200]} …")


_LM_EVALS_OWN = ("acc",)

POOLED_METRICS = {
    metric.name: PooledMetric(metric)
    for metric in IN_ORDER_OF_SUBJECTS
    if metric.of_probabilities and not metric.needs_reference and metric.name not in _LM_EVALS_OWN
}
"""Name in `metric_list` → the metric of documents with choices."""

POOLED_METRICS_OF_ANSWERS = {
    metric.name: PooledMetric(metric, table_of=table_of_answers)
    for metric in IN_ORDER_OF_SUBJECTS
    if metric.of_confidences
}
"""Name → the metric of documents with one answer each, given with a confidence."""
