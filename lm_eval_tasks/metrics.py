"""The calibration metrics as lm-eval's aggregations: pooled over a task's documents, with a bootstrap standard error.

Relied on in lm-eval 0.4.13: an aggregation is called with the list of what `process_results` gave for each document.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import metrics

Scores = tuple[Sequence[int], Sequence[float]]  # the right choices, and every choice's log-likelihood

MOST_RESAMPLES = 1000
"""How many resamples a standard error is read from at most; lm-eval's default of 100,000 adds nothing to its digits."""


@dataclass(frozen=True, eq=False)
class Pooled:
    """A metric of all the documents of a multiple-choice task together.

    Attributes:
        name: as in `metric_list`.
        statistic: (probabilities (n_items, n_choices), right (n_items, n_choices) bool) → what can be resampled.
        higher_is_better: its direction, as lm-eval shows it.
        options: further arguments of `statistic`, such as `n_bins`.
    """

    name: str
    statistic: Callable[..., metrics.Resampled]
    higher_is_better: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def option_names(self) -> list[str]:
        """What `options` may hold."""
        return list(inspect.signature(self.statistic).parameters)[2:]

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, items: Sequence[Scores]) -> float:
        """The metric; NaN where it is not defined (`auroc` of answers all right or all wrong), as lm-eval shows it."""
        found = self._of(items)
        return float("nan") if found is None else found.value()

    def standard_error(self, items: Sequence[Scores], n_resamples: int = MOST_RESAMPLES) -> float:
        """The standard deviation of the metric over resamples of the documents; NaN where it is not defined."""
        found = self._of(items)
        if found is None:
            return float("nan")
        return metrics.bootstrap({self.name: found}, n_resamples=n_resamples)[self.name].standard_error

    def with_options(self, options: Mapping[str, Any]) -> Pooled:
        """The same metric with arguments from a YAML's `metric_list`."""
        return replace(self, options={**self.options, **options})

    def _of(self, items: Sequence[Scores]) -> metrics.Resampled | None:
        probabilities, right = pooled_arrays(items)
        if self.name == "auroc" and metrics.accuracy(probabilities, right) in (0.0, 1.0):
            return None
        return self.statistic(probabilities, right, **self.options)


def pooled_arrays(items: Iterable[Scores]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
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
    gold = np.zeros((len(kept), width), dtype=bool)
    for i, (right, scores) in enumerate(kept):
        log_likelihoods[i, : len(scores)] = scores
        gold[i, right] = True
    return metrics.choice_probabilities(log_likelihoods), gold


def scores_of(task: Any, doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> Scores:
    """The right choices of a document of a multiple-choice task, and the log-likelihood of each choice."""
    choices = task.doc_to_choice(doc)
    gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    right = gold if isinstance(gold, list) else [gold]
    # Fewer than the results where lm-eval also asks for the choices' scores without the question (acc_mutual_info).
    scores = [score for score, _ in results][: len(choices)]
    return [_index(choice, choices) for choice in right], scores


def _index(choice: int | str, choices: Sequence[str]) -> int:
    if isinstance(choice, str):
        return choices.index(choice) if choice in choices else -1
    return int(choice)


def _ece(**fixed: Any) -> Callable[..., metrics.Resampled]:
    def statistic(probabilities: Any, labels: Any, n_bins: int = 15) -> metrics.Resampled:
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
"""Name in `metric_list` → the metric."""
