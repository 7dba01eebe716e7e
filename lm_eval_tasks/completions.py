"""Diversity metrics of several completions of one prompt, and the filter that keeps all completions.

Relied on in lm-eval: a pipeline's `filters` are filter classes or partial calls of them; `process_results` is called
with what a pipeline of filters left of a document's completions.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lm_eval.api.filter import Filter
from lm_eval.filters.selection import MajorityVoteFilter, TakeFirstFilter

from lm_eval_tasks import host
from lm_eval_tasks.pooled_metrics import check_options
from mergekit_calib import metrics
from mergekit_calib.errors import CalibError
from mergekit_calib.metrics.diversity import n_empty, words
from mergekit_calib.metrics.novelty import classified_equivalence

# A child of lm-eval's own logger: `lm_eval` shows its warnings, and a sweep, which states empty texts itself, does not.
_logger = logging.getLogger("lm_eval.mergekit_calib")


@dataclass(frozen=True, eq=False)
class Diversity:
    """A metric of the completions of one prompt, which lm-eval averages over prompts.

    Attributes:
        name: as in `metric_list`.
        of_texts: at least 2 completions, and the options → the metric.
        higher_is_better: whether a larger value is more diverse; None if neither more nor less is better.
        options: further arguments of `of_texts`, such as `n`.
        prepare: loads what `of_texts` needs, with the options, so that an error comes before anything is generated.
        remark: what is said in lm-eval's log when a task lists the metric.
    """

    name: str
    of_texts: Callable[..., float]
    higher_is_better: bool | None
    options: Mapping[str, Any] = field(default_factory=dict)
    prepare: Callable[..., Any] | None = None
    remark: str = ""

    @property
    def option_names(self) -> list[str]:
        """The names that `options` may hold: the arguments of `of_texts` that are numbers or names."""
        arguments = list(inspect.signature(self.of_texts).parameters.values())[1:]
        bound = self.of_texts.keywords if isinstance(self.of_texts, functools.partial) else {}
        return [a.name for a in arguments if isinstance(a.default, (int, float, str)) and a.name not in bound]

    @property
    def __name__(self) -> str:
        """The metric's name, by which lm-eval tells aggregations apart."""
        return self.name

    def __call__(self, completions: Sequence[str]) -> float:
        """Return the metric of at least 2 completions of one prompt."""
        return float(self.of_texts(completions, **self.options))

    def with_options(self, options: Mapping[str, Any], task: str) -> Diversity:
        """Return the metric with the options that a task's `metric_list` gives it.

        Raises:
            CalibError: the metric does not have one of the options.
        """
        check_options(self.name, options, self.option_names, task)
        return replace(self, options={**self.options, **options})


DIVERSITY = {
    metric.name: metric
    for metric in (
        Diversity("distinct_n", metrics.distinct_n, True),
        *(Diversity(f"distinct_{n}", functools.partial(metrics.distinct_n, n=n), True) for n in (1, 2, 3, 4)),
        Diversity("expectation_adjusted_distinct", metrics.expectation_adjusted_distinct, True),
        Diversity("self_bleu", metrics.self_bleu, False),
        Diversity("rouge_l", metrics.pairwise_rouge_l, False),
        Diversity("vendi_score", metrics.vendi_score, True),
        Diversity("compression_ratio", metrics.compression_ratio, False),
        Diversity("answer_entropy", metrics.answer_entropy, True),
        Diversity("distinct_k", metrics.distinct_k, True, prepare=classified_equivalence),
        Diversity(
            "distinct_k_ngrams",
            metrics.distinct_k_ngrams,
            True,
            remark="texts are compared by their words (ROUGE-1 above 0.458), not by meaning as in NoveltyBench's "
            "distinct_k: do not compare the two",
        ),
    )
}
"""Name in `metric_list` → the metric."""

BESIDE = {
    metric.name: metric
    for metric in (
        Diversity("n_words", lambda texts: sum(len(words(text)) for text in texts) / len(texts), None),
        Diversity("empty", lambda texts: n_empty(texts) / len(texts), False),
    )
}
"""Shown beside every metric of diversity: mean words and punctuation marks of a text, and the share of empty texts."""


class Completions(list[str]):
    """All completions of a prompt, in place of the first that lm-eval would have kept."""


class EveryCompletion(Filter):  # type: ignore[misc]
    """The filter that keeps all completions, in place of `take_first`, which keeps one."""

    def apply(self, resps: Iterable[Sequence[str]], docs: Any) -> list[Completions]:
        """Return all completions of each document."""
        return [Completions(completions) for completions in resps]


class MeasuredCompletions(EveryCompletion):
    """The filter that keeps all completions, and logs how many of them are empty, as their diversity depends on it.

    Args:
        task: the name of the task, for the log.
    """

    def __init__(self, task: str) -> None:
        super().__init__()
        self._task = task

    def apply(self, resps: Iterable[Sequence[str]], docs: Any) -> list[Completions]:
        """Return all completions of each document."""
        kept = super().apply(resps, docs)
        if empty := sum(map(n_empty, kept)):
            _logger.warning("%s: %d of %d completions are empty", self._task, empty, sum(map(len, kept)))
        return kept


def keep_every_completion(task: Any, keep: Callable[[], Filter] = EveryCompletion) -> list[str]:
    """Replace `take_first` at the end of a task's pipelines of filters.

    A pipeline that chooses one completion before its end, by a vote or otherwise, stays as it is.

    Args:
        task: the task, which is changed.
        keep: makes the filter that takes the place of `take_first`.

    Returns:
        The names of the pipelines that now keep all completions.
    """
    keeping = []
    for pipeline in host.pipelines(task):
        *before, last = [getattr(make, "func", make) for make in pipeline.filters]
        if {TakeFirstFilter, MajorityVoteFilter} & set(before) or last is MajorityVoteFilter:
            continue
        keeping.append(pipeline.name)
        if last in host.LAST_FILTERS:
            pipeline.filters = [*pipeline.filters[:-1], keep]
    return keeping


def as_lm_eval(results: Sequence[Any]) -> list[Any]:
    """Return results as lm-eval's own metrics expect them: the first completion, where `take_first` was replaced."""
    return [result[0] if isinstance(result, Completions) else result for result in results]


def measure_completions(task: Any, wanted: Mapping[str, Diversity]) -> None:
    """Make a task keep every completion, and average diversity metrics over its documents.

    Args:
        task: the task, which is changed.
        wanted: name → metric.

    Raises:
        CalibError: `repeats` is below 2, no pipeline keeps several completions, or a metric's model is missing.
    """
    where = f"task {task.task_name}: metric_list: {', '.join(wanted)}"
    if task.config.repeats < 2:
        raise CalibError(f"{where}: several completions of a prompt are needed: `repeats` is {task.config.repeats}")
    keeping = keep_every_completion(task, functools.partial(MeasuredCompletions, task.task_name))
    if not keeping:
        raise CalibError(f"{where}: every pipeline in `filter_list` chooses one completion; leave one without a choice")
    for metric in wanted.values():
        try:
            if metric.prepare:
                metric.prepare(**metric.options)
        except (ImportError, OSError) as problem:
            raise CalibError(f"task {task.task_name}: metric_list: {problem}") from problem
        if metric.remark:
            _logger.warning("%s: %s: %s", task.task_name, metric.name, metric.remark)
    host.set_averaged(task, keeping, with_beside(wanted))


def with_beside(wanted: Mapping[str, Diversity]) -> dict[str, Diversity]:
    """Return metrics of diversity with those that are shown beside any of them; none without any."""
    return {**BESIDE, **wanted} if wanted else {}


def diversity_of(task: Any, wanted: Mapping[str, Diversity], results: Sequence[Any]) -> dict[str, float]:
    """Return the diversity metrics of a document; none if a filter chose one completion, or with --predict_only."""
    completions = host.completions_of(results)
    if completions is None or len(completions) < 2:
        return {}
    shown = task.aggregation()
    return {name: metric(completions) for name, metric in with_beside(wanted).items() if name in shown}
