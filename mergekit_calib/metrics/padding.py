"""Ragged rows as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pad(rows: Sequence[Sequence[Any]], fill: Any = np.nan, dtype: type[np.generic] = np.float64) -> NDArray[Any]:
    """Return rows of different lengths as one array, filled up on the right.

    Args:
        rows: the rows, such as the log-likelihoods of each item's choices; any of them may be empty.
        fill: the value after the end of a shorter row.
        dtype: the type of the array's elements.

    Returns:
        (n_rows, length of the longest row), of zero columns where all rows are empty or there is none.
    """
    array = np.full((len(rows), max(map(len, rows), default=0)), fill, dtype=dtype)
    for i, row in enumerate(rows):
        array[i, : len(row)] = row
    return array
