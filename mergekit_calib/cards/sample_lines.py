"""The lines of lm-eval's samples: a document's choices, their log-likelihoods, and which of them are correct."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lm_eval_tasks.labels import LabelError, labels_among
from mergekit_calib.errors import CalibError

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Document:
    """One document of a samples file.

    Attributes:
        line: the line of the file.
        scores: the log-likelihoods of its choices, in nats; none if it has no choices.
        texts: the choices.
        values: the task's own metrics of the document, those that lm-eval averages.
    """

    line: Line
    scores: list[float]
    texts: list[str]
    values: dict[str, float]

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
        choices = _choices(line, _requests(line, where))
        scores = [_log_likelihood(response, where) for response in line["resps"][: len(choices)]]
        return cls(line, scores, [choice.lstrip() for choice in choices], _own_values(line, not_averaged))

    def without_choices(self) -> Document:
        """Return the document with its values alone."""
        return replace(self, scores=[], texts=[])

    @property
    def likeliest(self) -> int:
        """The number of its likeliest choice."""
        return int(np.argmax(self.scores))


def metrics_not_averaged(config: Mapping[str, Any]) -> set[str]:
    """Return the metrics that lm-eval does not aggregate as a mean, by the task's configuration or by default."""
    stated = {entry["metric"]: entry.get("aggregation") for entry in config.get("metric_list") or ()}
    aggregations = {"perplexity": "perplexity"} | {name: how for name, how in stated.items() if how}
    return {name for name, how in aggregations.items() if how != "mean"}


def judged_by_choice(documents: Sequence[Document], config: Mapping[str, Any]) -> bool:
    """Return whether the task judges a document by its likeliest choice, as far as its configuration and `acc` tell."""
    if not any(document.scores for document in documents):
        return False
    if all(_stated_labels(document) is not None for document in documents):
        return True
    by_other_means = config.get("process_results") not in (None, "CalibrationTask")
    return not by_other_means and all(document.values.get("acc", 0.0) in (0.0, 1.0) for document in documents)


def labels_of(documents: Sequence[Document], file: Path) -> list[list[int]] | None:
    """Return the numbers of each document's correct choices.

    They are read in the first way that works for all documents: as this package's metrics state them, from the number
    in `target`, from the text in `target`, or from `acc` between two choices.

    Args:
        documents: documents with choices.
        file: their file, for messages.

    Returns:
        (n_documents,) at least one number each; none if the run states that the label is not among the choices.
        Or None instead of the whole list, if labels can be read but `acc` does not say whether the likeliest choice is
        among them.

    Raises:
        CalibError: in no way can the labels of all documents be read.
    """
    stated = [_stated_labels(document) for document in documents]
    if all(labels is not None for labels in stated):
        labelled = [labels or [] for labels in stated]
        if any(labelled) and all(_agrees_with_acc(d, each) for d, each in zip(documents, labelled, strict=True)):
            return labelled
    readable = False
    for read in (_number_in_target, _text_in_target, _from_accuracy):
        labels = [read(document) for document in documents]
        if all(each and _agrees_with_acc(d, each) for d, each in zip(documents, labels, strict=True)):
            return labels
        readable = readable or all(labels)
    if readable:
        warnings.warn(
            f"{file}: `acc` does not say whether the likeliest choice is the one that `target` names; only the "
            "task's own metrics are read, without calibration",
            stacklevel=2,
        )
        return None
    unread = next((d for d in documents if not _number_in_target(d) and not _text_in_target(d)), documents[0])
    raise CalibError(
        f"{file}, document {unread.line['doc_id']}: `target` is {unread.line['target']!r}; the number or the text of a "
        f"choice was expected (the choices are {', '.join(map(repr, unread.texts))})"
    )


def _stated_labels(document: Document) -> list[int] | None:
    """Return the labels that the value of one of this package's metrics states; [] if they are not among the choices.

    Such a value is a pair of the labels' numbers and the choices' log-likelihoods. None if there is no such value.
    """
    for name in document.line.get("metrics") or ():
        value = document.line.get(name)
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], list) and isinstance(value[1], list):
            try:
                return labels_among(value[0], document.texts)
            except LabelError:
                return []
    return None


def _number_in_target(document: Document) -> list[int]:
    numbers = re.fullmatch(r"\[?\s*(\d+(?:\s*,\s*\d+)*)\s*\]?", str(document.line["target"]).strip())
    try:
        return labels_among([int(n) for n in numbers[1].split(",")], document.texts) if numbers else []
    except LabelError:
        return []


def _text_in_target(document: Document) -> list[int]:
    target = str(document.line["target"]).strip()
    labels = [i for i, text in enumerate(document.texts) if text.strip() == target]
    return labels if len(labels) == 1 else []


def _from_accuracy(document: Document) -> list[int]:
    accuracy = document.line.get("acc")
    if len(document.scores) != 2 or accuracy not in (0, 1):
        return []
    return [document.likeliest if accuracy == 1 else 1 - document.likeliest]


def _agrees_with_acc(document: Document, labels: list[int]) -> bool:
    """Return False if `acc` is 0 or 1 and contradicts whether the likeliest choice is among `labels`."""
    accuracy = document.line.get("acc")
    return accuracy not in (0, 1) or (document.likeliest in labels) == bool(accuracy)


def _requests(line: Line, where: str) -> list[list[Any]]:
    """Return the arguments of each request: a context, and a continuation or the settings of generation."""
    arguments = line["arguments"]
    if isinstance(arguments, dict):
        ordered = sorted(arguments, key=lambda name: int(name.rsplit("_", 1)[-1]))
        return [[arguments[name][key] for key in sorted(arguments[name])] for name in ordered]
    if isinstance(arguments, list):
        return [list(each) for each in arguments]
    raise CalibError(f"{where}: `arguments` is a {type(arguments).__name__}; an object or a list was expected")


def _choices(line: Line, requests: Sequence[Sequence[Any]]) -> list[str]:
    """Return the continuations that were scored; none if fewer than two were."""
    texts = [r[1] for r in requests if len(r) > 1 and isinstance(r[1], str)]
    if len(texts) < 2 or len(texts) < len(requests):
        return []
    # With acc_mutual_info, every choice is scored a second time, without the question.
    return texts[: len(texts) // 2] if "acc_mutual_info" in line else texts


def _log_likelihood(response: Any, where: str) -> float:
    """Return the number in `[["-2.69", "False"]]`, `[[-2.69, false]]`, or either with one bracket fewer."""
    inner = response
    while isinstance(inner, list) and inner:
        inner = inner[0]
    try:
        value = float(inner)
    except (TypeError, ValueError):
        raise CalibError(f"{where}: `resps` holds {response!r}; a log-likelihood was expected") from None
    if np.isnan(value):
        raise CalibError(f"{where}: a log-likelihood is not a number")
    return value


def _own_values(line: Line, not_averaged: Collection[str]) -> dict[str, float]:
    """Return the task's own metrics of the document."""
    names = line.get("metrics") or [k for k in line if k in ("acc", "acc_norm", "exact_match", "f1", "bleu", "em")]
    values = {k: line[k] for k in names if k not in not_averaged and isinstance(line.get(k), (bool, int, float))}
    return {name: float(value) for name, value in values.items() if not np.isnan(value)}
