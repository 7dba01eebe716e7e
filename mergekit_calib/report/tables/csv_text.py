"""CSV files of data frames that no spreadsheet takes for formulas.

A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@` as a formula, whatever program wrote the file. Names and
texts that begin so get an apostrophe before them; numbers do not. To read the text itself back, remove one apostrophe
where `^'+[=+@-]` matches (`original`).
"""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from mergekit_calib.report.text.safe_text import on_one_line

_FORMULA = re.compile("'*[=+\\-@＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def csv_text(frame: pd.DataFrame) -> str:
    """Return a data frame as CSV: text cells and titles on one line each, and no formula among them."""
    safe = frame.map(cell).rename(columns=cell)
    return str(safe.to_csv(index=False, lineterminator="\n"))


def cell(value: Any) -> Any:
    """Return the value of a cell: texts that a spreadsheet would run, after an apostrophe; all else as it is."""
    if not isinstance(value, str):
        return value
    text = on_one_line(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def original(text: str) -> str:
    """Return the text that `cell` wrote as `text`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
