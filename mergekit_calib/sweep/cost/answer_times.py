"""The time to turn answers into item tables, measured on a few documents with made-up answers."""

from __future__ import annotations

import time
from typing import Any

from mergekit_calib.prefix_lm.silence import silence_lm_eval
from mergekit_calib.scoring.item_tables import item_table
from mergekit_calib.scoring.loading import LoadedEntry
from mergekit_calib.scoring.requests import only_documents
from mergekit_calib.scoring.suite import Suite

_DOCUMENTS = 40  # of each task
_TASKS = 8  # of each entry
_GENERATED = 1e-3  # seconds for a generated answer, whose metrics may be anything; assumed


def answer_seconds(suite: Suite) -> dict[str, float]:
    """Return entry → seconds for an item, to read its answers and compute the task's own metrics.

    Args:
        suite: the suite; its requests are built. The answers of its instances are overwritten.
    """
    return {loaded.entry.name: _of_entry(loaded) for loaded in suite.entries}


def _of_entry(loaded: LoadedEntry) -> float:
    seconds, n_documents = 0.0, 0
    for task in loaded.tasks[:_TASKS]:
        numbers = range(min(_DOCUMENTS, len(loaded.documents[task.task_name])))
        with silence_lm_eval(keep_progress_bars=True), only_documents(task, numbers):
            if any(instance.request_type == "generate_until" for instance in task.instances):
                return _GENERATED * max(1, len(task.instances) // len(numbers))
            for instance in task.instances:
                instance.resps, instance.filtered_resps = [_made_up(instance)], {}
            try:
                seconds += min(_timed(task, loaded) for _ in range(3))
            except Exception:  # a task's own metrics may refuse these answers
                continue
            finally:
                for instance in task.instances:
                    instance.resps, instance.filtered_resps = [], {}
        n_documents += len(numbers)
    return seconds / n_documents if n_documents else _GENERATED


def _timed(task: Any, loaded: LoadedEntry) -> float:
    start = time.perf_counter()
    item_table(task, loaded.entry.split)
    return time.perf_counter() - start


def _made_up(instance: Any) -> tuple[float, bool] | float:
    return (-1.0 - instance.idx, False) if instance.request_type == "loglikelihood" else -1.0
