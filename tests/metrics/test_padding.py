"""Ragged rows as one array."""

from __future__ import annotations

import numpy as np
import pytest

from mergekit_calib.metrics import pad


def test_shorter_rows_are_filled_up_on_the_right():
    np.testing.assert_array_equal(pad([[1.0, 2.0], [], [3.0]]), [[1.0, 2.0], [np.nan] * 2, [3.0, np.nan]])


def test_the_fill_and_the_type_can_be_set():
    padded = pad([[True], [False, True]], False, np.bool_)
    assert padded.dtype == np.bool_
    assert padded.tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize("rows", [[], [[], []]])
def test_empty_rows_have_no_columns(rows):
    assert pad(rows).shape == (len(rows), 0)
