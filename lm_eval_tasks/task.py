"""A multiple-choice task that reports its calibration, over its items pooled: the class that the YAML here names.

Relied on in lm-eval 0.4.13: a YAML's `class:` is called with the YAML as `config`; `process_results` gives a value for
each metric and document, and the metric's aggregation sees those of all documents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from lm_eval.api.task import ConfigurableTask

from mergekit_calib import metrics

Scores = tuple[list[int], list[float]]  # the right choices, and every choice's log-likelihood


class CalibrationTask(ConfigurableTask):
    """lm-eval's own multiple-choice task, with `ece`, `brier`, `nll` and `overconfidence` beside its accuracies.

    Their values for a document are its right choices and log-likelihoods, as lm-eval's sample logs show; lm-eval
    has no standard error of metrics that are not its own.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        own = {key: value for key, value in config.items() if key != "class"}
        # lm-eval looks metrics up by name unless a task processes its results itself, which this class does.
        super().__init__(config={"output_type": "multiple_choice", "process_results": "CalibrationTask", **own})
        for name, aggregation in POOLED.items():
            self._metric_fn_list[name], self._metric_fn_kwargs[name] = None, {}
            self._aggregation_list[name], self._higher_is_better[name] = aggregation, False

    def process_results(self, doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, Any]:
        found: dict[str, Any] = super().process_results(doc, results)
        wanted = [name for name in POOLED if name in self._aggregation_list]  # --predict_only takes all away
        if not wanted:
            return found
        choices = self.doc_to_choice(doc)
        gold = self.doc_to_text(doc) if self.multiple_input else self.doc_to_target(doc)
        scores = [score for score, _ in results][: len(choices)]
        right = list(gold) if isinstance(gold, list) else [choices.index(gold) if isinstance(gold, str) else gold]
        return {**found, **dict.fromkeys(wanted, (right, scores))}


def _pooled(metric: Callable[[Any, Any], float]) -> Callable[[Sequence[Scores]], float]:
    """`metric` of all documents' probabilities and right choices."""

    def aggregation(items: Sequence[Scores]) -> float:
        width = max(len(scores) for _, scores in items)
        log_likelihoods = np.full((len(items), width), np.nan)
        gold = np.zeros((len(items), width), dtype=bool)
        for i, (right, scores) in enumerate(items):
            log_likelihoods[i, : len(scores)] = scores
            gold[i, right] = True
        return metric(metrics.choice_probabilities(log_likelihoods), gold)

    return aggregation


POOLED: dict[str, Callable[[Sequence[Scores]], float]] = {
    "ece": _pooled(metrics.expected_calibration_error),
    "brier": _pooled(metrics.brier_score),
    "nll": _pooled(metrics.negative_log_likelihood),
    "overconfidence": _pooled(metrics.overconfidence),
}
