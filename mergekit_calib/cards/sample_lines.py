"""The lines of lm-eval's samples: a document's choices, their log-likelihoods, and the task's own metrics of it.

Written from `evaluate` in the source of lm-eval 0.4.2 to 0.4.13, and `_build_logged_samples` of 0.5.0.dev1:

- `arguments` are lists of context and continuation (0.4.2), or `{"gen_args_0": {"arg_0": …, "arg_1": …}, …}`.
- `resps` has a list for each request, with `[-2.69, false]` (0.4.2) or `["-2.69", "False"]` for each repeat.
- `filter` and `metrics` are there from 0.4.7 on. Before that, the metrics are the keys that are nothing else.
- With `acc_mutual_info` every choice is scored a second time without its context: after each choice up to 0.4.4, after
  all choices later. 0.4.5 to 0.4.8 still read the former order, so `acc` and the other metrics that they log are wrong.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mergekit_calib.cards.sample_files import Line, shown
from mergekit_calib.errors import CalibError

MUTUAL = "acc_mutual_info"
_NO_METRICS = frozenset(
    "doc_id doc target arguments resps filtered_resps filter metrics doc_hash prompt_hash target_hash "
    "scores_per_repeat".split()
)


@dataclass(frozen=True)
class Document:
    """One document of a samples file.

    Attributes:
        line: the line of the file.
        scores: the log-likelihoods of its choices, in nats; none if it has no choices.
        texts: the choices.
        values: the task's own metrics of the document, those that lm-eval averages.
        misread_scores: the log-likelihoods that lm-eval 0.4.5 to 0.4.8 takes for those of the choices; none if another
            version wrote the line.
        is_misread: whether such a version certainly wrote the line.
    """

    line: Line
    scores: list[float]
    texts: list[str]
    values: dict[str, float]
    misread_scores: list[float]
    is_misread: bool

    @classmethod
    def of(cls, line: Line, not_averaged: Collection[str], where: str) -> Document:
        """Read a line.

        Args:
            line: the line.
            not_averaged: metrics that are left out of `values`.
            where: the file and the document, for messages.

        Raises:
            CalibError: the line does not have the form of lm-eval's samples.
        """
        requests = _requests(line, where)
        responses = line["resps"]
        if not isinstance(responses, list) or len(responses) != len(requests):
            expected = f"{len(requests)} lists, one for each request in `arguments`"
            raise CalibError(f"{where}: `resps` is {shown(responses)}; {expected}, were expected")
        chosen = _of_choices(line, requests)
        scores = [_log_likelihood(responses[i], where) for i in chosen]
        texts = [requests[i][1] for i in chosen]
        misread, surely = [], False
        if MUTUAL in line and chosen and chosen == list(range(len(chosen))):
            # Those versions repeat a choice without the delimiter before it, if there is one.
            surely = texts != [request[1] for request in requests[len(chosen) :]]
            if surely or not all(text[:1].isspace() for text in texts):
                misread = [_log_likelihood(response, where) for response in responses[::2]]
        values = own_values(line, not_averaged)
        return cls(line, scores, [text.lstrip() for text in texts], values, misread, surely)

    def without_choices(self) -> Document:
        """Return the document with its values alone."""
        return replace(self, scores=[], texts=[])

    @property
    def likeliest(self) -> int:
        """The number of its likeliest choice."""
        return int(np.argmax(self.scores))

    @property
    def likeliest_by_length(self) -> int:
        """The number of the choice with the largest log-likelihood per character, which `acc_norm` judges by."""
        return int(np.argmax([score / max(1, len(text)) for score, text in zip(self.scores, self.texts, strict=True)]))


def metrics_not_averaged(config: Mapping[str, Any]) -> set[str]:
    """Return the metrics that lm-eval does not aggregate as a mean, by the task's configuration or by default."""
    listed = config.get("metric_list")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    stated = {str(entry.get("metric")): entry.get("aggregation") for entry in entries}
    aggregations = {"perplexity": "perplexity"} | {name: how for name, how in stated.items() if how}
    return {name for name, how in aggregations.items() if how != "mean"}


def metric_names(line: Line) -> list[str]:
    """Return the names of the task's own metrics of a document."""
    listed = line.get("metrics")
    names = listed if isinstance(listed, list) else [key for key in line if key not in _NO_METRICS]
    return [name for name in names if isinstance(name, str)]


def own_values(line: Line, not_averaged: Collection[str]) -> dict[str, float]:
    """Return the task's own metrics of a document that are numbers, except those in `not_averaged`."""
    values = {name: _number(line.get(name)) for name in metric_names(line) if name not in not_averaged}
    return {name: value for name, value in values.items() if value is not None and not np.isnan(value)}


def _number(value: Any) -> float | None:
    """Return a metric as a number: a number, or the text that lm-eval logs for one of numpy's; else None."""
    if isinstance(value, (bool, int, float)):
        return float(value) if abs(value) < 1e300 or value in (np.inf, -np.inf) else None
    if isinstance(value, str) and re.fullmatch(r"True|False|-?\d{1,20}(\.\d{1,30})?(e-?\d{1,3})?", value):
        return float({"True": 1, "False": 0}.get(value, value))
    return None


def _requests(line: Line, where: str) -> list[list[Any]]:
    """Return the arguments of each request: a context, and a continuation or the settings of generation."""
    arguments = line["arguments"]
    if isinstance(arguments, dict) and all(isinstance(each, dict) for each in arguments.values()):
        return [[arguments[name][key] for key in sorted(arguments[name])] for name in sorted(arguments, key=_place)]
    if isinstance(arguments, list) and all(isinstance(each, list) for each in arguments):
        return [list(each) for each in arguments]
    raise CalibError(
        f"{where}: `arguments` is {shown(arguments)}; a list of lists, or an object as lm-eval logs it, was expected"
    )


def _place(name: str) -> tuple[int, str]:
    number = name.rpartition("_")[2]
    return (int(number) if number.isascii() and number.isdigit() and len(number) < 9 else -1, name)


def _of_choices(line: Line, requests: Sequence[Sequence[Any]]) -> list[int]:
    """Return the numbers of the requests that score a choice after its context; none if fewer than two do."""
    every = list(range(len(requests)))
    if len(every) < 2 or not all(len(request) > 1 and isinstance(request[1], str) for request in requests):
        return []
    if MUTUAL not in line:
        return every
    with_context = [i for i in every if requests[i][0] != ""]
    if 2 * len(with_context) == len(every):
        return with_context
    # The task has no context at all, so nothing but the order tells.
    half = len(every) // 2
    texts = [request[1].strip() for request in requests]
    return every[:half] if texts[:half] == texts[half:] else every[::2]


def _log_likelihood(response: Any, where: str) -> float:
    """Return the number in `[["-2.69", "False"]]`, `[[-2.69, false]]`, or either with one bracket fewer."""
    inner = response
    while isinstance(inner, list) and inner:
        inner = inner[0]
    try:
        if isinstance(inner, bool):
            raise ValueError
        value = float(inner)
    except (TypeError, ValueError, OverflowError):
        raise CalibError(f"{where}: `resps` holds {shown(response)}; a log-likelihood was expected") from None
    if np.isnan(value):
        raise CalibError(f"{where}: a log-likelihood is not a number")
    return value
