"""From the answered requests of one lm-eval task to its item table.

Relied on in lm-eval 0.4.13: the shapes of tasks that `ConfigurableTask.process_results` tells apart.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
from lm_eval.api.task import Task

from mergekit_calib.errors import CalibError
from mergekit_calib.items import ItemTable


class ScoringError(CalibError):
    """A model's answers cannot be used."""


def item_table(task: Task, limit: int | None) -> ItemTable:
    """The item table of a task whose instances hold their responses.

    Raises:
        ScoringError: a log-likelihood that is not a number, or a right answer that is not among the choices.
    """
    from mergekit_calib.scoring.suite import doc_hash

    task.apply_filters()
    instances: dict[int, list[Any]] = defaultdict(list)
    for instance in task.instances:
        instances[instance.doc_id].append(instance)
    has_choices = task.OUTPUT_TYPE == "multiple_choice"
    rows = []
    for doc_id, doc in task.doc_iterator(limit=limit):
        requests = sorted(instances[doc_id], key=lambda instance: instance.idx)
        row: dict[str, Any] = {"id": doc_id, "hash": doc_hash(doc), "values": _own_metrics(task, doc, requests)}
        if has_choices:
            row |= _choices(task, doc_id, doc, requests)
        else:
            row["generations"] = [str(r) for request in requests for r in request.resps]
        rows.append(row)
    width = max((len(row["scores"]) for row in rows), default=0) if has_choices else 0

    def padded(name: str, fill: Any, dtype: Any) -> Any:
        array = np.full((len(rows), width), fill, dtype=dtype)
        if has_choices:
            for i, row in enumerate(rows):
                array[i, : len(row[name])] = row[name]
        return array

    names = set.intersection(*(set(row["values"]) for row in rows)) if rows else set()
    return ItemTable(
        task=task.task_name,
        doc_ids=np.array([row["id"] for row in rows], dtype=np.int64),
        doc_hashes=[row["hash"] for row in rows],
        log_likelihoods=padded("scores", np.nan, np.float64),
        gold=padded("gold", False, np.bool_),
        choice_chars=padded("chars", 0, np.int64),
        choice_bytes=padded("bytes", 0, np.int64),
        generations=None if has_choices else [row["generations"] for row in rows],
        values={name: np.array([row["values"][name] for row in rows]) for name in sorted(names)},
    )


def _choices(task: Any, doc_id: int, doc: Any, requests: list[Any]) -> dict[str, Any]:
    """The scores, lengths and right ones of a document's choices."""
    choices = task.doc_to_choice(doc)
    # Twice as many requests as choices: the second half are the choices without the question (acc_mutual_info).
    scores = [float(request.resps[0][0]) for request in requests][: len(choices)]
    if any(math.isnan(score) for score in scores):
        raise ScoringError(f"task {task.task_name}, document {doc_id}: a log-likelihood is not a number")
    gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    right = [choices.index(g) if isinstance(g, str) and g in choices else g for g in _as_list(gold)]
    if not right or not all(isinstance(g, int) and 0 <= g < len(choices) for g in right):
        raise ScoringError(
            f"task {task.task_name}, document {doc_id}: the right answer {gold!r} is not among {choices}"
        )
    return {
        "scores": scores,
        "gold": [i in right for i in range(len(choices))],
        "chars": [len(choice) for choice in choices],
        "bytes": [len(choice.encode("utf-8")) for choice in choices],
    }


def _as_list(gold: Any) -> list[Any]:
    return list(gold) if isinstance(gold, (list, tuple)) else [gold]


def _own_metrics(task: Any, doc: Any, requests: list[Any]) -> dict[str, float]:
    """The numbers that the task itself gives a document, where it defines them or has no choices."""
    if task.OUTPUT_TYPE == "multiple_choice" and not callable(task.config.process_results):
        return {}
    first_filter = next(iter(requests[0].filtered_resps))
    results = task.process_results(doc, [request.filtered_resps[first_filter] for request in requests])
    return {name: float(v) for name, v in results.items() if isinstance(v, (int, float, np.number)) and not _is_nan(v)}


def _is_nan(value: Any) -> bool:
    return math.isnan(float(value))
