"""Run the requests of lm-eval's tasks on a model, all of one type together.

It relies on lm-eval: `Instance` holds its responses in `resps` and the filtered ones in `filtered_resps`;
`Task.instances` are `Task._instances`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lm_eval.api.task import Task

from mergekit_calib.prefix_lm.answer_lengths import AnswerLength
from mergekit_calib.scoring.suite_lm import SuiteLM

EntryProgress = Callable[[str, int, int], None]
"""A function that takes a suite entry's name, how many of its requests are answered, and how many there are."""

Lengths = Mapping[int, Sequence[AnswerLength]]
"""The id of an instance → the lengths of its answers, in order."""


def run_requests(lm: SuiteLM, instances: Iterable[Any]) -> Lengths:
    """Answer requests, and put the answers into the instances in place of earlier ones.

    Args:
        lm: the model.
        instances: lm-eval's instances; each is asked as many times as its `repeats` says.

    Returns:
        The lengths of the generated answers.
    """
    by_type: dict[str, list[Any]] = {}
    lengths: dict[int, list[AnswerLength]] = {}
    for instance in instances:
        instance.resps, instance.filtered_resps = [], {}
        by_type.setdefault(instance.request_type, []).extend([instance] * instance.repeats)
    for request_type, requests in by_type.items():
        responses = getattr(lm, request_type)(requests, disable_tqdm=True)
        for instance, response in zip(requests, responses, strict=True):
            instance.resps.append(response)
        if request_type == "generate_until":
            for instance, length in zip(requests, lm.answer_lengths, strict=True):
                lengths.setdefault(id(instance), []).append(length)
    return lengths


@contextmanager
def only_documents(task: Task, numbers: Collection[int]) -> Iterator[None]:
    """Let a task have only the requests of some documents within the `with` block.

    Args:
        task: a task whose requests are built.
        numbers: the numbers of those documents, as in `Instance.doc_id`.
    """
    instances, wanted = task._instances, frozenset(numbers)
    task._instances = [instance for instance in instances if instance.doc_id in wanted]
    try:
        yield
    finally:
        task._instances = instances


def answer_counter(progress: EntryProgress | None, entry: str, total: int) -> Callable[[int], None]:
    """Return a function that adds up the numbers of answered requests that it is called with, and reports the sum.

    Args:
        progress: called with the sum; None to report nothing.
        entry: the name of the suite entry.
        total: the number of requests.

    Returns:
        The function. Called with 0, it reports that all requests are answered.
    """
    done = 0

    def count(n: int) -> None:
        nonlocal done
        done = min(done + n, total) if n else total
        if progress:
            progress(entry, done, total)

    return count
