"""The table of points in a terminal of any width: columns that do not fit are left out, numbers are never cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from mergekit_calib.report.tables.rows import FrontierTable, Row, frontier_table
from mergekit_calib.report.terminal.table_columns import GAP, LEAST_LABEL, Column, columns_that_fit
from mergekit_calib.report.text import formatting
from mergekit_calib.results.frontier import Frontier

# Widths are in terminal columns.
_LONG_LABEL = 24  # the room for a point's name while details can be left out instead
_REASON = 24  # with less room than this, a reason is printed under its point's name
_WIDEST = 120


def console_table(frontier: Frontier) -> PointsTable:
    """Return the points' objectives for a terminal; two objectives and their intervals fit into 80 columns."""
    return PointsTable(frontier_table(frontier).short, len(frontier.objectives))


class PointsTable:
    """A table that fits into the width of its console.

    Names are plain text: markup in them is printed as it is.

    Args:
        source: the table's rows.
        n_objectives: how many of the table's measures are objectives; the others are not shown.
        most_rows: with more points than this, those that are neither parents, chosen, failed nor on the frontier are
            left out first, and a line says how many.
        caption: whether to print how to read the table.
    """

    def __init__(
        self, source: FrontierTable, n_objectives: int, most_rows: int | None = None, caption: bool = True
    ) -> None:
        self._source, self._n = source, n_objectives
        self._rows = _most_important(source.rows, most_rows)
        self._caption = caption

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        available = min(options.max_width, _WIDEST)
        labels = [row.label + (" ★" if row.point.selected else "") for row in self._rows]
        labels += [baseline.name for baseline in self._source.baselines]
        longest = max((cell_len(label) for label in labels), default=0)
        columns, has_selection = columns_that_fit(
            self._source, self._rows, self._n, available, min(longest, _LONG_LABEL)
        )
        rest = sum(column.width + len(GAP) for column in columns)
        label_width = max(LEAST_LABEL, min(longest, available - rest))
        label_width = min(label_width, max(1, available - rest))
        width = label_width + rest

        for i in (0, 1):
            titles = ["point" if i == 0 else "", *(column.title[i] for column in columns)]
            if any(titles[1:]) or i == 0:
                yield _line(titles, label_width, columns, "bold")
        yield Text("─" * width, style="dim", no_wrap=True)
        for i, row in enumerate(self._rows):
            style = _style(row)
            if row.outcome:
                yield from _outcome(labels[i], row.outcome, label_width, available, style, brief=not self._caption)
                continue
            yield self._cells(labels[i], i, label_width, columns, style)
            if self._caption and row.point.selected and not has_selection:
                chosen_on = f"  {self._source.chosen_on.removesuffix(' split')}"
                yield _line([chosen_on, *(column.selection for column in columns)], label_width, columns, "dim")
        if hidden := len(self._source.rows) - len(self._rows):
            yield Text(_clipped(f"… and {formatting.counted(hidden, 'point')} more", available), style="dim")
        group = ""
        for i, baseline in enumerate(self._source.baselines, start=len(self._rows)):
            if baseline.group != group:
                group = baseline.group
                yield Text(_clipped(f"{group}:", available), style="dim", no_wrap=True)
            yield self._cells(labels[i], i, label_width, columns, "italic")
        if self._caption:
            yield Text()
            yield Text(self._source.caption, style="dim")

    def _cells(self, label: str, i: int, label_width: int, columns: Sequence[Column], style: str) -> Text:
        line = Text(set_cell_size(_clipped(label, label_width), label_width), no_wrap=True, end="", style=style)
        for column in columns:
            value, aside = column.cells[i]
            text = Text.assemble(value, (f" {aside}" if aside else "", "dim not bold" if aside else ""))
            pad = " " * (column.width - cell_len(text.plain))
            line = line + Text(GAP) + (Text.assemble(text, pad) if column.left else Text.assemble(pad, text))
        return _row(line)


def _line(titles: Sequence[str], label_width: int, columns: Sequence[Column], style: str) -> Text:
    cells = [set_cell_size(_clipped(titles[0], label_width), label_width)]
    for title, column in zip(titles[1:], columns, strict=True):
        pad = " " * (column.width - cell_len(title))
        cells.append(f"{title}{pad}" if column.left else f"{pad}{title}")
    return _row(Text(GAP.join(cells), style=style))


def _most_important(rows: Sequence[Row], most: int | None) -> list[Row]:
    """Return at most `most` rows in their order: parents and the choice before failed points, then the frontier."""
    if most is None or len(rows) <= most:
        return list(rows)

    def rank(i: int) -> tuple[bool, bool, bool, int]:
        point = rows[i].point
        return (not (point.role or point.selected), not rows[i].outcome, not rows[i].on_frontier, i)

    kept = sorted(sorted(range(len(rows)), key=rank)[: max(1, most - 1)])
    return [rows[i] for i in kept]


def _style(row: Row) -> str:
    if row.point.status == "failed":
        return "red"
    if row.point.status == "stopped":
        return "yellow"
    return "bold green" if row.point.selected else "" if row.on_frontier else "dim"


def _outcome(label: str, outcome: str, label_width: int, available: int, style: str, brief: bool) -> Iterator[Text]:
    """Yield the lines of a point without numbers: its name, and the reason across the other columns."""
    start = set_cell_size(_clipped(label, label_width), label_width) + GAP
    indent = " " * cell_len(start)
    if not brief and available - len(indent) < _REASON:
        yield _row(Text(_clipped(label, available), style=style))
        start = indent = GAP
    room = max(8, available - len(indent))
    outcome = " ".join(outcome.split())
    lines = [_clipped(outcome, room)] if brief else [str(t) for t in Text(outcome).wrap(Console(), room)]
    for i, line in enumerate(lines):
        yield _row(Text((start if i == 0 else indent) + line.rstrip(), style=style))


def _row(text: Text) -> Text:
    text.rstrip()
    text.no_wrap, text.overflow, text.end = True, "crop", "\n"
    return text


def _clipped(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + "…"
