"""`mergekit-calib report`: write the report of a finished or interrupted sweep again, from its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mergekit_calib.commands.answering_again import with_answering
from mergekit_calib.report.report_files import write_report
from mergekit_calib.report.tables.export import write_exports
from mergekit_calib.results.result_reader import load_sweep


def rewrite_report(out: Path, formats: Sequence[str], max_error: float | None = None) -> list[Path]:
    """Write table, pictures and page again, and the model card if there is one; return the page and the exports.

    Args:
        out: the sweep's output folder.
        formats: formats in which the table of points is exported too, of `md`, `csv`, `json` and `latex`.
        max_error: the error that answers should stay under; written to `frontier.json` too. As it was, if None.

    Raises:
        CalibError: there is no sweep in the folder, or a format is unknown.
    """
    frontier = with_answering(load_sweep(out), out, max_error)
    exports = write_exports(frontier, out, formats) if formats else []
    write_report(frontier, out, card=(out / "README.md").exists())
    return [out / "calibration" / "report.html", *exports]
