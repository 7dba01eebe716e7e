"""The calibration metrics as lm-eval's aggregations: pooled over a task's documents, with a bootstrap standard error.

Relied on in lm-eval 0.4.13: an aggregation is called with the list of what `process_results` gave for each document;
metrics are aggregated in the order of its first mention of them, and `{name}_stderr` is what the table shows after ±.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import metrics
from mergekit_calib.errors import CalibError

Scores = tuple[Sequence[int], Sequence[float]]  # the right choices, and every choice's log-likelihood
Vote = tuple[float, bool]  # the confidence in the answer given, and whether it is right
Arrays = tuple[NDArray[np.float64], NDArray[np.bool_]]

MOST_RESAMPLES = 1000
"""How many resamples a standard error is read from at most; lm-eval's default of 100,000 adds nothing to its digits."""


def pooled_arrays(items: Iterable[Scores]) -> Arrays:
    """(n_items, n_choices) probabilities, NaN-padded, and which choices are right.

    A document whose right choice is not among its choices is left out, since no probability of it was asked for;
    lm-eval warns of it, and counts it as wrong in `acc`.
    """
    kept = [([i for i in right if 0 <= i < len(scores)], scores) for right, scores in items]
    kept = [(right, scores) for right, scores in kept if right]
    if not kept:
        raise ValueError("no document has a right choice among its choices")
    width = max(len(scores) for _, scores in kept)
    log_likelihoods = np.full((len(kept), width), np.nan)
    labels = np.zeros((len(kept), width), dtype=bool)
    for i, (right, scores) in enumerate(kept):
        log_likelihoods[i, : len(scores)] = scores
        labels[i, right] = True
    return metrics.choice_probabilities(log_likelihoods), labels


def confidences(items: Iterable[Vote]) -> Arrays:
    """(n_items,) the confidence in each answer given, and whether it is right."""
    confidence, right = zip(*items, strict=True)
    return np.array(confidence, dtype=np.float64), np.array(right, dtype=bool)


@dataclass(frozen=True, eq=False)
class Pooled:
    """A metric of all the documents of a task together.

    Attributes:
        name: as in `metric_list`.
        statistic: (probabilities (n_items, n_choices), right (n_items, n_choices) bool), or (confidences (n_items,),
            right (n_items,) bool) → what can be resampled.
        higher_is_better: its direction, as lm-eval shows it.
        options: further arguments of `statistic`, such as `n_bins`.
        arrays: from what the documents gave to the arguments of `statistic`.
    """

    name: str
    statistic: Callable[..., metrics.Statistic]
    higher_is_better: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    arrays: Callable[[Sequence[Any]], Arrays] = pooled_arrays

    @property
    def option_names(self) -> list[str]:
        """What `options` may hold."""
        return list(inspect.signature(self.statistic).parameters)[2:]

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, items: Sequence[Any]) -> float:
        """The metric; NaN where it is not defined (`auroc` of answers all right or all wrong), as lm-eval shows it."""
        found = self._of(items)
        return float("nan") if found is None else found.value()

    def standard_error(self, items: Sequence[Any], n_resamples: int = MOST_RESAMPLES) -> float:
        """The standard deviation of the metric over resamples of the documents; NaN where it is not defined."""
        found = self._of(items)
        if found is None:
            return float("nan")
        return metrics.bootstrap({self.name: found}, n_resamples=n_resamples)[self.name].standard_error

    def with_options(self, options: Mapping[str, Any], task: str) -> Pooled:
        """The same metric with arguments from the `metric_list` of a task.

        Raises:
            CalibError: an option that it does not have.
        """
        check_options(self.name, options, self.option_names, task)
        return replace(self, options={**self.options, **options})

    def _of(self, items: Sequence[Any]) -> metrics.Statistic | None:
        probabilities, right = self.arrays(items)
        if self.name == "auroc" and metrics.accuracy(probabilities, right) in (0.0, 1.0):
            return None
        return self.statistic(probabilities, right, **self.options)


def check_options(metric: str, options: Iterable[str], known: Sequence[str], task: str) -> None:
    """Raise where a `metric_list` gives a metric an option that it does not have."""
    for option in options:
        if option not in known:
            takes = ", ".join(known) or "none"
            raise CalibError(f"task {task}: metric_list: {metric} has no option {option!r}; it takes {takes}")


def aggregations(pooled: Mapping[str, Pooled]) -> dict[str, Callable[[Sequence[Any]], float | str]]:
    """lm-eval's aggregations of pooled metrics; with their standard errors, where lm-eval itself would show N/A.

    It knows none but its own metrics' standard errors, unless the plugin's hooks are on. But what it aggregates by the
    name `ece_stderr` after `ece` takes the place of the N/A.
    """
    from lm_eval import evaluator_utils  # not above: it imports the tasks' base class, which may be waiting for us

    found: dict[str, Callable[[Sequence[Any]], float | str]] = {}
    for name, metric in pooled.items():
        found[name] = metric
        if evaluator_utils.stderr_for_metric(metric=metric, bootstrap_iters=1) is None:
            found[f"{name}_stderr"] = StandardError(metric)
    return found


@dataclass(frozen=True, eq=False)
class StandardError:
    """The standard error of a pooled metric, as an aggregation; N/A for one document, as lm-eval says of its own."""

    metric: Pooled

    @property
    def __name__(self) -> str:
        return f"{self.metric.name}_stderr"

    def __call__(self, items: Sequence[Any]) -> float | str:
        return self.metric.standard_error(items) if len(items) > 1 else "N/A"


def scores_of(task: Any, doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> Scores:
    """The right choices of a document of a multiple-choice task, and the log-likelihood of each choice.

    Raises:
        CalibError: the log-likelihoods make no probabilities: one is not a number, or all are −inf.
    """
    choices = task.doc_to_choice(doc)
    labels = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    right = labels if isinstance(labels, list) else [labels]
    # Fewer than the results where lm-eval also asks for the choices' scores without the question (acc_mutual_info).
    scores = [score for score, _ in results][: len(choices)]
    if np.isnan(scores).any() or np.isneginf(scores).all():
        where = f"task {task.task_name}, document {_number(task, doc)}"
        raise CalibError(
            f"{where}: the log-likelihoods of its choices are {', '.join(map(str, scores))}; they make no "
            "probabilities. Half precision can overflow: try another dtype"
        )
    return [_index(choice, choices) for choice in right], scores


def _number(task: Any, doc: dict[str, Any]) -> str:
    """Which document of a task `doc` is, as sample logs number them."""
    return next((str(i) for i, other in enumerate(task.eval_docs) if other == doc), f"{str(doc)[:200]} …")


def _index(choice: int | str, choices: Sequence[str]) -> int:
    if isinstance(choice, str):
        return choices.index(choice) if choice in choices else -1
    return int(choice)


def _ece(**fixed: Any) -> Callable[..., metrics.Statistic]:
    def statistic(probabilities: Any, labels: Any, n_bins: int = 15) -> metrics.Statistic:
        return metrics.expected_calibration_error_statistic(probabilities, labels, n_bins, **fixed)

    return statistic


POOLED = {
    metric.name: metric
    for metric in (
        Pooled("ece", _ece()),
        Pooled("ece_mass", _ece(binning="mass")),
        Pooled("rms_ce", _ece(norm="l2")),
        Pooled("smooth_ece", metrics.smooth_ece_statistic),
        Pooled("brier", metrics.brier_statistic),
        Pooled("nll", metrics.nll_statistic),
        Pooled("overconfidence", metrics.overconfidence_statistic),
        Pooled("auroc", metrics.auroc_statistic, higher_is_better=True),
        Pooled("aurc", metrics.area_under_risk_coverage_statistic),
    )
}
"""Name in `metric_list` → the metric of the choices of multiple-choice tasks."""

OF_CONFIDENCES = {
    name: replace(POOLED[name], arrays=confidences)
    for name in ("ece", "ece_mass", "rms_ce", "smooth_ece", "auroc", "aurc")
}
"""Name → the metric of answers given with a confidence, where there are no choices."""
