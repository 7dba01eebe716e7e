"""The columns of the table of points in a terminal: what fits, and what is left out first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len

from mergekit_calib.report.tables.rows import BaselineRow, FrontierTable, Row

GAP = "  "
LEAST_LABEL = 12
"""The least room for a point's name, in terminal columns."""

_TITLE = 22
_SELECTION_TITLE = 12
_EMPTY = ("", "")


@dataclass(frozen=True)
class Column:
    """One column: two lines of title, and for each row a cell with a plain part and a dim part.

    Attributes:
        title: its two lines.
        cells: the points' cells, then the baselines'.
        selection: the cell of the line below the chosen point that gives the numbers it was chosen on, with
            spaces in place of an interval.
        left: whether the cells are aligned to the left.
    """

    title: tuple[str, str]
    cells: Sequence[tuple[str, str]]
    selection: str = ""
    left: bool = False

    @property
    def width(self) -> int:
        """The width in terminal columns."""
        return max(cell_len(text) for text in (*self.title, *(" ".join(cell).rstrip() for cell in self.cells)))


class _Details(NamedTuple):
    """The details that are shown beside the values.

    Attributes:
        intervals: those of the values.
        selection: a column for each objective on the items chosen on.
        superior: the outcome of the superiority test.
        shares: the share of resamples on the frontier.
    """

    intervals: bool
    selection: bool
    superior: bool
    shares: bool


_IN_ORDER = (
    _Details(intervals=True, selection=True, superior=True, shares=True),
    _Details(intervals=True, selection=True, superior=False, shares=True),
    _Details(intervals=True, selection=False, superior=True, shares=True),
    _Details(intervals=True, selection=False, superior=False, shares=True),
    _Details(intervals=False, selection=True, superior=True, shares=True),
    _Details(intervals=False, selection=False, superior=True, shares=True),
    _Details(intervals=False, selection=False, superior=False, shares=True),
    _Details(intervals=False, selection=False, superior=False, shares=False),
)


class Columns(NamedTuple):
    """The columns that are shown.

    Attributes:
        columns: from left to right.
        selection: whether the objectives on the items chosen on have columns of their own.
    """

    columns: list[Column]
    selection: bool


def columns_that_fit(
    source: FrontierTable, rows: Sequence[Row], n_objectives: int, available: int, label: int
) -> Columns:
    """Return the columns that fit beside the points' names; numbers are never cut.

    Args:
        source: the table.
        rows: those of its rows that are shown.
        n_objectives: how many of the table's measures are objectives; the others are not shown.
        available: the width of the terminal.
        label: the width of the names, in place of which details are left out; then they are cut to `LEAST_LABEL`.
    """

    def fits(columns: Sequence[Column], beside: int) -> bool:
        return beside + sum(column.width + len(GAP) for column in columns) <= available

    anything_is_superior = any(row.superior for row in rows)
    for beside in (label, LEAST_LABEL):
        for details in _IN_ORDER:
            if details.superior and not anything_is_superior:
                continue
            columns = [*_axes(source, rows), *_measured(source, rows, details.intervals, n_objectives)]
            columns += _selection(source, rows, n_objectives) if details.selection else []
            columns.append(_marks(source, rows, details.shares))
            columns += [_superior(source, rows)] if details.superior else []
            if fits(columns, beside):
                return Columns(columns, details.selection)
    for shown in range(n_objectives - 1, 0, -1):
        columns = [*_measured(source, rows, False, shown), _marks(source, rows, False)]
        if fits(columns, LEAST_LABEL):
            return Columns(columns, False)
    return Columns(_measured(source, rows, False, 1), False)


def _axes(source: FrontierTable, rows: Sequence[Row]) -> list[Column]:
    return [
        Column((title, ""), [*((row.axes[k], "") for row in rows), *_no_cells(source)])
        for k, title in enumerate(source.axes)
    ]


def _measured(source: FrontierTable, rows: Sequence[Row], intervals: bool, shown: int) -> list[Column]:
    columns = []
    chosen = next((row for row in rows if row.point.selected and row.chosen_on), None)
    for k, title in enumerate(source.measures[:shown]):
        all_rows: list[Row | BaselineRow] = [*rows, *source.baselines]
        cells = [row.values[k] if row.values else _EMPTY for row in all_rows]
        name, _, bins = title.partition(" (")
        columns.append(
            Column(
                (_shortened(name, _TITLE), f"({bins}" if bins else ""),
                [(value, interval if intervals else "") for value, interval in cells],
                _in_place_of(chosen.chosen_on[k], chosen.values[k][1] if intervals else "") if chosen else "",
            )
        )
    return columns


def _in_place_of(value: str, interval: str) -> str:
    return f"{value}{' ' * (len(interval) + 1)}" if interval else value


def _selection(source: FrontierTable, rows: Sequence[Row], shown: int) -> list[Column]:
    return [
        Column(
            (_shortened(title, _SELECTION_TITLE), source.chosen_on.removesuffix(" split")),
            [*((row.chosen_on[k] if row.chosen_on else "", "") for row in rows), *_no_cells(source)],
        )
        for k, title in enumerate(source.chosen_on_measures[:shown])
    ]


def _marks(source: FrontierTable, rows: Sequence[Row], shares: bool) -> Column:
    marks = [row.frontier if shares else row.frontier[:1].strip("0123456789") for row in rows]
    return Column(("●", ""), [*((mark, "") for mark in marks), *_no_cells(source)], left=True)


def _superior(source: FrontierTable, rows: Sequence[Row]) -> Column:
    return Column(("superior", ""), [*((row.superior, "") for row in rows), *_no_cells(source)])


def _no_cells(source: FrontierTable) -> list[tuple[str, str]]:
    return [_EMPTY] * len(source.baselines)


def _shortened(text: str, longest: int) -> str:
    """Return `text`, or if it is long, its end: a title ends with the metric and the arrow."""
    return text if len(text) <= longest else f"…{text[1 - longest :]}"
