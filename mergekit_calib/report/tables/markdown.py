"""Markdown: escaped text, code blocks, tables, and the table of a sweep's points."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mergekit_calib.report.tables.rows import frontier_table
from mergekit_calib.report.text.safe_text import on_one_line
from mergekit_calib.results.frontier import Frontier, Objective

_MARKUP = re.compile(r"[&<>|*_`\[\]\\~$#]")
_INTERVAL = re.compile(r"\[[−+\d.e-]+, [−+\d.e-]+\](?![(\[:])")  # brackets that do not begin a link
_ALIGNMENT = {"l": ":--", "r": "--:", "c": ":-:"}


def escape_markdown(text: str) -> str:
    """Return `text` on one line, escaped so that it has no effect as Markdown or HTML, in a table cell too.

    It uses character references and not backslashes, which not every Markdown dialect reads within tables or HTML.
    """
    text = on_one_line(text)
    kept = {place for m in _INTERVAL.finditer(text) for place in (m.start(), m.end() - 1)}
    spans = [(m.start(), m.group()) for m in _MARKUP.finditer(text)]
    for start, character in reversed(spans):
        within_word = character == "_" and text[start - 1 : start].isalnum() and text[start + 1 : start + 2].isalnum()
        if not within_word and start not in kept:
            text = f"{text[:start]}&#{ord(character)};{text[start + 1 :]}"
    return text


def fenced(text: str, language: str) -> str:
    """Return a code block whose fence is longer than any run of backticks in `text`."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def markdown_table(titles: Sequence[str], rows: Iterable[Sequence[str]], alignment: str = "") -> str:
    """Return a table in Markdown.

    Args:
        titles: (n_columns,) Markdown; names in titles and cells go through `escape_markdown` first.
        rows: the cells of each row, Markdown; a row shorter than `titles` is filled up with empty cells.
        alignment: `l`, `r` or `c` for each column; all `l`, if empty.
    """
    lines = [list(titles), [_ALIGNMENT[kind] for kind in alignment or "l" * len(titles)]]
    lines += [[*row, *[""] * (len(titles) - len(row))] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def frontier_markdown(frontier: Frontier, measures: Sequence[Objective] = ()) -> str:
    """Return the points of a sweep and its baselines as a Markdown table.

    The last columns have the numbers that the choice was made on, unless metrics are asked for.

    Args:
        frontier: the sweep.
        measures: as `frontier_table` takes them.
    """
    table = frontier_table(frontier, measures).short
    n_axes, n_measures, n_selection = len(table.axes), len(table.measures), len(table.chosen_on_measures)
    titles = ["point", *table.axes, *table.measures]
    rows = []
    for row in table.rows:
        label = escape_markdown(row.label)
        if row.outcome:
            measured = [escape_markdown(row.outcome), *[""] * n_measures][: max(1, n_measures)]
        else:
            measured = _measured(row.values)
        chosen = "★" if row.point.selected else ""
        label = f"**{label}**" if chosen else label
        marks = [row.frontier, row.superior, chosen]
        rows.append([label, *map(escape_markdown, row.axes), *measured, *marks, *row.chosen_on])
    for baseline in table.baselines:
        rows.append([escape_markdown(baseline.label), *[""] * n_axes, *_measured(baseline.values), baseline.kind])
    alignment = f"l{'r' * (n_axes + n_measures)}ccc{'r' * n_selection}"
    chosen_on = [f"{table.chosen_on}: {escape_markdown(title)}" for title in table.chosen_on_measures]
    return markdown_table(
        [*map(escape_markdown, titles), "frontier", "superior", "chosen", *chosen_on], rows, alignment
    )


def _measured(values: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{value} {span}".rstrip() for value, span in values]
