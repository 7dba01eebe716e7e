"""The files of a comparison of sweeps: figure, table and page, each written atomically."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from mergekit_calib.report.figures.drawing import render
from mergekit_calib.report.figures.plot_compare import comparison_figure
from mergekit_calib.report.page.templates import rendered
from mergekit_calib.report.tables.comparison import Compared, caption, compared, comparison_frame, comparison_table
from mergekit_calib.report.tables.csv_text import csv_text
from mergekit_calib.report.tables.markdown import escape_markdown, markdown_table
from mergekit_calib.storage.atomic import write_bytes_atomic, write_text_atomic


def write_comparison(paths: Sequence[str | Path], target: str | Path) -> Path:
    """Write `comparison.png`, `.svg`, `.csv`, `.md` and `.html`.

    Args:
        paths: the output folders of the sweeps.
        target: the folder to write to.

    Returns:
        The path of the page.

    Raises:
        CalibError: a sweep cannot be compared, as `compared` says.
    """
    sweeps, target = compared(paths), Path(target)
    figure = comparison_figure(sweeps)
    vector = render(figure, "svg")
    write_bytes_atomic(target / "comparison.png", render(figure))
    write_bytes_atomic(target / "comparison.svg", vector)
    write_text_atomic(target / "comparison.csv", csv_text(comparison_frame(sweeps)))
    titles, rows = comparison_table(sweeps)
    escaped = [[escape_markdown(cell) for cell in row] for row in rows]
    table = markdown_table([escape_markdown(title) for title in titles], escaped)
    write_text_atomic(target / "comparison.md", f"{table}\n\n{escape_markdown(caption(sweeps))}\n")
    page = target / "comparison.html"
    write_text_atomic(page, _html(sweeps, vector))
    return page


def _html(sweeps: Sequence[Compared], vector: bytes) -> str:
    titles, rows = comparison_table(sweeps)
    return rendered(
        "compare.html.jinja",
        sweeps=sweeps,
        titles=titles,
        rows=rows,
        caption=caption(sweeps),
        # As an image, an SVG can neither run scripts nor fetch anything, whatever the names in it.
        picture=f"data:image/svg+xml;base64,{base64.b64encode(vector).decode('ascii')}",
    )
