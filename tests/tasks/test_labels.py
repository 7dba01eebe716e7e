"""Reading labels: numbers and texts of choices, and labels that are not among the choices."""

from __future__ import annotations

import numpy as np
import pytest

from lm_eval_tasks.labels import LabelError, labels_among

CHOICES = ["yes", "no", "yes"]


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (1, [1]),
        (np.int64(2), [2]),
        (1.0, [1]),
        (True, [1]),
        ("no", [1]),
        ("yes", [0]),
        ([2, "no"], [2, 1]),
        ((0,), [0]),
    ],
)
def test_a_label_is_the_number_or_the_text_of_a_choice_or_a_list_of_them(given, labels):
    assert labels_among(given, CHOICES) == labels


@pytest.mark.parametrize("given", [3, -1, -100, 0.5, float("nan"), "maybe", "0", None, [0, 3], [[0]]])
def test_a_label_that_is_not_among_the_choices_is_an_error(given):
    with pytest.raises(LabelError, match="not among the choices"):
        labels_among(given, CHOICES)


def test_a_document_without_labels_is_an_error():
    with pytest.raises(LabelError, match="no label"):
        labels_among([], CHOICES)
