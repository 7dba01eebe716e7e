"""The files of a comparison of sweeps: figures, tables and page, each written atomically."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mergekit_calib.report.figures.drawing import render
from mergekit_calib.report.figures.plot_compare import comparison_figure
from mergekit_calib.report.figures.plot_sweeps_along import sweeps_along_figure
from mergekit_calib.report.page.comparison_page import comparison_html
from mergekit_calib.report.tables.comparison import Compared, caption, compared, comparison_frame, comparison_table
from mergekit_calib.report.tables.comparison_pairs import (
    Pair,
    item_notes,
    pairs,
    pairs_caption,
    pairs_frame,
    pairs_table,
)
from mergekit_calib.report.tables.csv_text import csv_text
from mergekit_calib.report.tables.export import checked_formats, latex_table
from mergekit_calib.report.tables.markdown import escape_markdown, markdown_table
from mergekit_calib.storage.atomic import write_bytes_atomic, write_text_atomic

FORMATS = ("md", "csv", "tex", "latex")


def write_comparison(
    paths: Sequence[str | Path], target: str | Path, metrics: str = "", formats: Sequence[str] = ("md", "csv")
) -> Path:
    """Write `comparison.png`, `.svg` and `.html`, the tables, and `along.png` and `.svg` (each metric along λ).

    Args:
        paths: the output folders of the sweeps.
        target: the folder to write to.
        metrics: the metrics to compare, separated by commas; accuracy and ECE if empty.
        formats: the tables' formats, of `FORMATS`. As CSV, the pairs are `comparison_pairs.csv`.

    Returns:
        The path of the page.

    Raises:
        CalibError: a format is unknown, or a sweep cannot be compared, as `compared` says.
    """
    wanted = {"tex" if name == "latex" else name for name in checked_formats(formats, FORMATS)}
    sweeps, target = compared(paths, metrics), Path(target)
    found = pairs(sweeps)
    figure = comparison_figure(sweeps)
    vector = render(figure, "svg")
    write_bytes_atomic(target / "comparison.png", render(figure))
    write_bytes_atomic(target / "comparison.svg", vector)
    if (along := sweeps_along_figure(sweeps)) is not None:
        write_bytes_atomic(target / "along.png", render(along))
        write_bytes_atomic(target / "along.svg", render(along, "svg"))
    if "csv" in wanted:
        write_text_atomic(target / "comparison.csv", csv_text(comparison_frame(sweeps)))
        if found:
            write_text_atomic(target / "comparison_pairs.csv", csv_text(pairs_frame(found)))
    if "md" in wanted:
        write_text_atomic(target / "comparison.md", _markdown(sweeps, found))
    if "tex" in wanted:
        tables = [latex_table(*comparison_table(sweeps), caption(sweeps))]
        tables += [latex_table(*pairs_table(found), _said_of_pairs(found))] if found else []
        write_text_atomic(target / "comparison.tex", "\n".join(tables))
    page = target / "comparison.html"
    write_text_atomic(page, comparison_html(sweeps, found, vector))
    return page


def _markdown(sweeps: Sequence[Compared], found: Sequence[Pair]) -> str:
    parts = [_table(*comparison_table(sweeps)), escape_markdown(caption(sweeps))]
    if found:
        parts += [_table(*pairs_table(found)), escape_markdown(_said_of_pairs(found))]
    return "\n\n".join(parts) + "\n"


def _said_of_pairs(found: Sequence[Pair]) -> str:
    return " ".join([pairs_caption(found), *item_notes(found)])


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    escaped = [[escape_markdown(cell) for cell in row] for row in rows]
    return markdown_table([escape_markdown(title) for title in titles], escaped)
