"""The labels of a multiple-choice document: the one place that reads them, for lm-eval, for sweeps and for cards.

A label that is not among the choices has no probability, so its document has no calibration. A sweep refuses such a
task before it loads any model. A run of lm-eval goes on and counts such a document as wrong in `acc`: there the
document is left out of the calibration metrics, and a warning says how many are. A card of that run's samples leaves
the same documents out.
"""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Sequence
from typing import Any


class LabelError(ValueError):
    """A document has no label, or one that is not among its choices."""


def labels_among(labels: Any, choices: Sequence[str]) -> list[int]:
    """Return the numbers, from 0, of the choices that a document's labels name.

    Args:
        labels: a choice's number or text, or a list of them, as lm-eval's `doc_to_target` returns.
        choices: the document's choices; of two with the same text, a label names the first.

    Returns:
        At least one number.

    Raises:
        LabelError: there is no label, or one that is not among the choices.
    """
    given = list(labels) if isinstance(labels, (list, tuple)) else [labels]
    if not given:
        raise LabelError(f"no label; the choices are {list(choices)}")
    return [_number(label, choices) for label in given]


def _number(label: Any, choices: Sequence[str]) -> int:
    if isinstance(label, str) and label in choices:
        return choices.index(label)
    if isinstance(label, numbers.Real) and label in range(len(choices)):
        return int(float(label))  # some data sets hold labels as floats
    raise LabelError(f"the label {label!r} is not among the choices {list(choices)}")


def choices_and_labels(task: Any, doc: Any) -> tuple[list[str], list[int]]:
    """Return the choices of a multiple-choice task's document, and the numbers of those that are correct.

    Args:
        task: an lm-eval task with `output_type: multiple_choice`.
        doc: one of its documents.

    Raises:
        LabelError: the document has no label, or one that is not among its choices.
    """
    from lm_eval_tasks import host  # not above: cards of samples read labels without lm-eval

    choices, target = host.choices_and_target(task, doc)
    return choices, labels_among(target, choices)


def warn_of_unlabelled(where: str, n_unlabelled: int, n_documents: int) -> None:
    """Warn of documents that stay out of calibration metrics.

    Python shows a repeated warning once, so all metrics of a task may call this.

    Args:
        where: the task or the file.
        n_unlabelled: the number of documents whose label is not among their choices.
        n_documents: the number of all documents.
    """
    warnings.warn(
        f"{where}: left out of the calibration metrics: {n_unlabelled} of {n_documents} documents, "
        "whose label is not among their choices",
        stacklevel=2,
    )
