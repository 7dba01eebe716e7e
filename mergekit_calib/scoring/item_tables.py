"""Make the item table of one lm-eval task from its answered requests.

What lm-eval's versions do differently is in `lm_eval_tasks/host/`.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Literal

import numpy as np
from lm_eval.api.metrics import mean
from lm_eval.api.task import Task
from numpy.typing import NDArray

from lm_eval_tasks import host
from lm_eval_tasks.labels import choices_and_labels
from mergekit_calib.errors import CalibError
from mergekit_calib.items.metric_registry import LENGTHS
from mergekit_calib.items.table import ItemTable, in_split
from mergekit_calib.metrics import pad
from mergekit_calib.scoring.loading import doc_hash, is_judged_by_choices
from mergekit_calib.scoring.requests import Lengths

# Metrics that we compute from log-likelihoods and labels, unless a task computes its results itself.
_FROM_CHOICES = ("acc", "acc_norm")


class ScoringError(CalibError):
    """A model's answers cannot be used."""


def item_table(
    task: Task, split: Literal["selection", "held_out"] | None = None, lengths: Lengths | None = None
) -> ItemTable:
    """Return the item table of a task whose instances hold their responses.

    Args:
        task: the task, after `build_all_requests`.
        split: the split that its suite entry puts all documents in; None to divide them by their hashes.
        lengths: the lengths of the generated answers, as `run_requests` returns them.

    Raises:
        ScoringError: a log-likelihood is not a number; the message names task and document.
    """
    task.apply_filters()
    documents: dict[int, list[Any]] = {}
    for instance in task.instances:
        documents.setdefault(instance.doc_id, []).append(instance)
    judged_by_choices = is_judged_by_choices(task)
    rows = []
    for doc_id, requests in documents.items():
        requests.sort(key=lambda instance: instance.idx)
        _check_log_likelihoods(task, requests)
        # The document of the prompt, not one read again: a task may shuffle its choices each time it reads documents.
        doc = requests[0].doc
        row: dict[str, Any] = {"id": doc_id, "hash": in_split(doc_hash(doc), split)}
        if judged_by_choices:
            row |= _choices(task, doc, requests)
        else:
            row["generations"] = [str(r) for request in requests for r in request.resps]
        row["values"] = {**_mean_lengths(requests, lengths or {}), **_own_values(task, doc, requests)}
        rows.append(row)

    def padded(name: str, fill: float | bool, dtype: type[np.generic]) -> NDArray[Any]:
        return pad([row.get(name, []) for row in rows], fill, dtype)

    names = sorted(set().union(*(row["values"] for row in rows)))
    return ItemTable(
        task=task.task_name,
        doc_ids=np.array([row["id"] for row in rows], dtype=np.int64),
        doc_hashes=[row["hash"] for row in rows],
        log_likelihoods=padded("scores", np.nan, np.float64),
        labels=padded("labels", False, np.bool_),
        choice_chars=padded("chars", 0, np.int64),
        choice_bytes=padded("bytes", 0, np.int64),
        generations=None if task.OUTPUT_TYPE != "generate_until" else [row["generations"] for row in rows],
        values={name: np.array([row["values"].get(name, np.nan) for row in rows]) for name in names},
    )


def own_metrics(task: Any) -> dict[str, bool]:
    """Return metric → whether more is better, for the metrics that a task computes for each document.

    They are the metrics that lm-eval averages over documents; one that it computes over all documents at once (F1,
    perplexity) has no value for a document. If a task filters its answers in several ways, a metric has its plain name
    for the first filter, and `metric,filter` for each other one. Every task that generates also has the lengths of its
    answers, unless it has a metric of that name.
    """
    averaged = host.averaged_metrics(task)
    left_out = () if _computes_its_results(task) else _FROM_CHOICES
    directions = task.higher_is_better()
    own = {
        _value_name(name, [*averaged], filter_): directions.get(name, True)
        for filter_, names in averaged.items()
        for name in names
        if name not in left_out
    }
    return {**(dict.fromkeys(LENGTHS, False) if task.OUTPUT_TYPE == "generate_until" else {}), **own}


def _value_name(metric: str, filters: list[str], filter_: str) -> str:
    """Return the name that a metric has for one of a task's filters."""
    return metric if filter_ == filters[0] else f"{metric},{filter_}"


def _computes_its_results(task: Any) -> bool:
    """Return whether a task's metrics depend on more than the log-likelihoods and labels of its choices."""
    return task.OUTPUT_TYPE != "multiple_choice" or callable(task.config.process_results)


def _own_values(task: Any, doc: Any, requests: list[Any]) -> dict[str, float]:
    """Return metric → value, for the metrics that the task itself computes for a document."""
    by_filter = host.document_values(task, doc, requests)
    values = {}
    for filter_, results in by_filter.items():
        for metric, value in results.items():
            name = _value_name(metric, [*by_filter], filter_)
            averaged = task.aggregation().get(metric, mean) is mean
            if averaged and isinstance(value, (Real, np.bool_)) and not math.isnan(value):
                values[name] = float(value)
    if not _computes_its_results(task):
        values = {name: value for name, value in values.items() if name not in _FROM_CHOICES}
    return values


def _mean_lengths(requests: list[Any], lengths: Lengths) -> dict[str, float]:
    """Return the mean tokens of a document's answers, and the share that the limit cut off; nothing if not counted."""
    of_document = [length for request in requests for length in lengths.get(id(request), ())]
    if not of_document:
        return {}
    means = (np.mean([each.tokens for each in of_document]), np.mean([each.cut_off for each in of_document]))
    return dict(zip(LENGTHS, map(float, means), strict=True))


def _check_log_likelihoods(task: Task, requests: list[Any]) -> None:
    """Raise an error if a log-likelihood is NaN."""
    for request in requests:
        if request.request_type == "generate_until":
            continue
        for response in request.resps:
            log_likelihood = response[0] if isinstance(response, tuple) else response
            if math.isnan(log_likelihood):
                where = f"task {task.task_name}, document {request.doc_id}"
                raise ScoringError(f"{where}: a log-likelihood is not a number")


def _choices(task: Task, doc: Any, requests: list[Any]) -> dict[str, Any]:
    """Return the log-likelihoods, labels and lengths of a document's choices."""
    choices, labels = choices_and_labels(task, doc)
    measured = host.measured_choices(choices, requests)
    return {
        # For the metric acc_mutual_info a second set of requests follows: the choices without the question.
        "scores": [float(request.resps[0][0]) for request in requests[: len(choices)]],
        "labels": [i in labels for i in range(len(choices))],
        "chars": [len(choice) for choice in measured],
        "bytes": [len(choice.encode("utf-8")) for choice in measured],
    }
