"""Which choices of a document are correct: told by its target, its metrics, or its accuracy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lm_eval_tasks.labels import LabelError, labels_among
from mergekit_calib.cards.sample_files import shown
from mergekit_calib.cards.sample_lines import Document, metric_names
from mergekit_calib.errors import CalibError


def judged_by_choice(documents: Sequence[Document], config: Mapping[str, Any]) -> bool:
    """Return whether the task judges a document by its likeliest choice, as far as its configuration and `acc` tell."""
    if not any(document.scores for document in documents):
        return False
    if all(_stated_labels(document) is not None for document in documents):
        return True
    by_other_means = config.get("process_results") not in (None, "CalibrationTask")
    return not by_other_means and all(document.values.get("acc", 0.0) in (0.0, 1.0) for document in documents)


def labels_of(documents: Sequence[Document], file: Path, notes: list[str]) -> list[list[int]] | None:
    """Return the numbers of each document's correct choices.

    They are read in the first way that works for all documents: as this package's metrics state them, from the number
    in `target`, from the text in `target`, or from `acc` or `acc_norm` between two choices.

    Args:
        documents: documents with choices.
        file: their file, for messages.
        notes: where a remark for the reader is added.

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
        if any(labelled) and all(_agrees(d, each) for d, each in zip(documents, labelled, strict=True)):
            return labelled
    readable = False
    for read in (_number_in_target, _text_in_target, _truth_in_target, _from_accuracy):
        labels = [read(document) for document in documents]
        if all(each and _agrees(d, each) for d, each in zip(documents, labels, strict=True)):
            return labels
        readable = readable or all(labels)
    if readable:
        notes.append(
            f"{file}: `acc` does not say whether the likeliest choice is the one that `target` names; only the "
            "task's own metrics are read, without calibration."
        )
        return None
    unread = next((d for d in documents if not _number_in_target(d) and not _text_in_target(d)), documents[0])
    choices = ", ".join(map(shown, unread.texts[:4])) + (", …" if len(unread.texts) > 4 else "")
    raise CalibError(
        f"{file}, document {unread.line['doc_id']}: `target` is {shown(unread.line['target'])}; the number or the text "
        f"of a choice was expected (the choices are {choices})"
    )


def has_misread_accuracy(documents: Sequence[Document], labels: Sequence[Sequence[int]]) -> bool:
    """Return whether lm-eval computed `acc` from other requests than those of the choices, as 0.4.5 to 0.4.8 do."""
    return any(
        document.misread_scores and (document.is_misread or not _agrees_with_scores(document, each))
        for document, each in zip(documents, labels, strict=True)
    )


def _stated_labels(document: Document) -> list[int] | None:
    """Return the labels that the value of one of this package's metrics states; [] if they are not among the choices.

    Such a value is a pair of the labels' numbers and the choices' log-likelihoods. None if there is no such value.
    """
    for name in metric_names(document.line):
        value = document.line.get(name)
        if isinstance(value, list) and len(value) == 2 and all(isinstance(part, list) for part in value):
            if len(value[1]) != len(document.texts):
                continue
            try:
                return labels_among(value[0], document.texts)
            except LabelError:
                return []
    return None


def _number_in_target(document: Document) -> list[int]:
    numbers = re.fullmatch(r"\[?\s*(\d{1,9}(?:\.0)?(?:\s*,\s*\d{1,9}(?:\.0)?)*)\s*\]?", _target(document))
    try:
        return labels_among([float(n) for n in numbers[1].split(",")], document.texts) if numbers else []
    except LabelError:
        return []


def _text_in_target(document: Document) -> list[int]:
    target = _target(document)
    labels = [i for i, text in enumerate(document.texts) if text.strip() == target]
    return labels if len(labels) == 1 else []


def _truth_in_target(document: Document) -> list[int]:
    label = {"False": 0, "True": 1}.get(_target(document))
    return [label] if label is not None and label < len(document.texts) else []


def _target(document: Document) -> str:
    return str(document.line["target"]).strip()


def _from_accuracy(document: Document) -> list[int]:
    judged = _accuracy(document)
    if len(document.scores) != 2 or judged is None or document.misread_scores:
        return []
    is_correct, likeliest = judged
    return [likeliest if is_correct else 1 - likeliest]


def _accuracy(document: Document) -> tuple[bool, int] | None:
    """Return whether the choice that the task judges by is correct, and which that is; None if the run does not say."""
    for metric, likeliest in (("acc", document.likeliest), ("acc_norm", document.likeliest_by_length)):
        if document.values.get(metric) in (0.0, 1.0):
            return document.values[metric] == 1.0, likeliest
    return None


def _agrees_with_scores(document: Document, labels: Sequence[int]) -> bool:
    """Return False if `acc`, or `acc_norm` without it, contradicts that `labels` are correct."""
    judged = _accuracy(document)
    return judged is None or (judged[1] in labels) == judged[0]


def _agrees(document: Document, labels: Sequence[int]) -> bool:
    """Return False if the run's accuracy contradicts that `labels` are correct, in the way that its lm-eval counts."""
    misread, accuracy = document.misread_scores, document.values.get("acc")
    if misread and accuracy is not None and (int(np.argmax(misread)) in labels) == (accuracy == 1.0):
        return True
    return _agrees_with_scores(document, labels)
