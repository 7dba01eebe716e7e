"""`mergekit-calib report`: write the report of a finished or interrupted sweep again, from its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mergekit_calib.analysis.measures import with_measures
from mergekit_calib.commands.answering_again import with_answering
from mergekit_calib.report.report_files import write_metric_pictures, write_report
from mergekit_calib.report.tables.export import checked_formats, write_exports
from mergekit_calib.results.result_reader import load_sweep


def rewrite_report(out: Path, formats: Sequence[str], metrics: str = "", max_error: float | None = None) -> list[Path]:
    """Write table, pictures and page again, and the model card if there is one; return the page and the exports.

    Args:
        out: the sweep's output folder.
        formats: formats in which the table of points is exported too, of `md`, `csv`, `json`, `tex` and `latex`.
        metrics: names of metrics, separated by commas. If given, the exported table and pictures of their own are of
            these, and the page shows them too; if no format is named, the table is `md`.
        max_error: the error that answers should stay under; written to `frontier.json` too. As it was, if None.

    Raises:
        CalibError: there is no sweep in the folder, or a format or a metric is unknown.
    """
    wanted = checked_formats(formats)
    frontier = with_answering(load_sweep(out), out, max_error)
    files: list[Path] = []
    if metrics:
        frontier, measures = with_measures(frontier, out if out.is_dir() else None, metrics)
        files += write_exports(frontier, out, wanted or ["md"], measures)
        files += write_metric_pictures(frontier, out, measures)
    elif wanted:
        files += write_exports(frontier, out, wanted)
    write_report(frontier, out, card=(out / "README.md").exists())
    return [out / "calibration" / "report.html", *files]
