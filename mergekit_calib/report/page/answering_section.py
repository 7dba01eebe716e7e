"""The page's section on where to stop answering: a table, and the data of its chart are in the result itself."""

from __future__ import annotations

from dataclasses import dataclass

from mergekit_calib.report.text.answering_texts import TITLES, answering_rows, how_answering_is_chosen
from mergekit_calib.results.frontier import Frontier


@dataclass(frozen=True)
class AnsweringSection:
    """The section's text.

    Attributes:
        titles: the columns of its table.
        rows: one row for each point.
        caption: how to read it.
    """

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str


def answering_section(frontier: Frontier) -> AnsweringSection | None:
    """Return the section; None if no thresholds were computed."""
    rows = answering_rows(frontier)
    return AnsweringSection(TITLES, tuple(rows), how_answering_is_chosen(frontier)) if rows else None
