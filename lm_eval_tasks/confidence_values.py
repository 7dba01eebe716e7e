"""What a document gives the metrics if its answer has a confidence: by a vote, or in the model's own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval_tasks import host
from lm_eval_tasks.pooled_metrics import POOLED_METRICS_OF_ANSWERS
from mergekit_calib import metrics

AVERAGED_OF_CONFIDENCE = {"acc": True, "confidence": None, "overconfidence": False, "brier": False, "nll": False}
"""Metrics of answers with a confidence that are means over documents → whether more is better; None if neither is."""


def set_metrics_of_confidence(task: Any, pipeline_names: Sequence[str], averaged: Mapping[str, bool | None]) -> None:
    """Give a task the metrics of answers with a confidence, in place of its own.

    Args:
        task: the task.
        pipeline_names: the pipelines of filters whose answers are measured.
        averaged: the metrics that are means over documents → whether more is better; None if neither.
    """
    host.set_only_metrics(task, pipeline_names, averaged, POOLED_METRICS_OF_ANSWERS)


def values_of_confidence(
    task: Any, averaged: Mapping[str, bool | None], confidence: float, correct: bool, least: float, **more: float
) -> dict[str, Any]:
    """Return a document's values of the metrics that a task has.

    Args:
        task: the task.
        averaged: those of its metrics that are means over documents.
        confidence: in the answer, 0 to 1.
        correct: whether the answer is correct.
        least: in `nll` a confidence is at least this far from 0 and 1, above 0.
        **more: values of further metrics.
    """
    clipped = min(max(confidence, least), 1.0 - least)
    values = {
        "acc": float(correct),
        "confidence": confidence,
        "overconfidence": confidence - correct,
        "brier": metrics.brier_score([confidence], [correct]),
        "nll": metrics.negative_log_likelihood([clipped], [correct]),
        **more,
    }
    wanted = task.aggregation()
    own = {name: value for name, value in values.items() if name in wanted}
    return {**own, **dict.fromkeys([name for name in wanted if name not in averaged], (confidence, correct))}
