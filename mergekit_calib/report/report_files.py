"""The files of a sweep's report: pictures, table, page and model card, each written atomically."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mergekit_calib.report.card.front_matter import licence_in
from mergekit_calib.report.card.model_card import model_card
from mergekit_calib.report.page import report_html
from mergekit_calib.report.tables.csv_text import csv_text
from mergekit_calib.report.tables.frames import points_frame
from mergekit_calib.results.frontier import Frontier, Objective
from mergekit_calib.storage.atomic import write_bytes_atomic, write_text_atomic


def write_report(frontier: Frontier, out_path: str | Path, card: bool = True) -> None:
    """Write `points.csv`, the pictures and `report.html` to `out_path/calibration/`, and the model card to `out_path`.

    The card is written only if the sweep is finished and a point is chosen: before that there is no model to describe.
    A licence that was set in an earlier card is kept. A picture that the sweep has no data for is removed.

    Args:
        frontier: the sweep.
        out_path: its output folder; made if it is missing.
        card: whether to write a model card.

    Raises:
        OSError: a file could not be written; the file that was there before is unchanged.
    """
    # Here, because it imports matplotlib, which a sweep needs only at its end.
    from mergekit_calib.report.figures.pictures import FORMATS, PICTURES, draw_pictures

    out_path = Path(out_path)
    folder = out_path / "calibration"
    write_text_atomic(folder / "points.csv", csv_text(points_frame(frontier)))
    drawn = draw_pictures(frontier, FORMATS)
    for name in (name.replace(".png", f".{each}") for name in PICTURES for each in FORMATS):
        if name in drawn:
            write_bytes_atomic(folder / name, drawn[name])
        else:
            (folder / name).unlink(missing_ok=True)
    pictures = {name: drawn[name] for name in PICTURES if name in drawn}
    write_page(frontier, out_path)
    if card and frontier.finished and frontier.selected is not None:
        path = out_path / "README.md"
        chat = has_chat_template(out_path)
        write_text_atomic(path, model_card(frontier, pictures, licence_in(path), has_chat_template=chat))


def has_chat_template(folder: Path) -> bool:
    """Return whether the model in a folder has a chat template."""
    if (folder / "chat_template.jinja").exists() or (folder / "chat_template.json").exists():
        return True
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and bool(settings.get("chat_template"))


def write_metric_pictures(frontier: Frontier, out_path: str | Path, measures: Sequence[Objective]) -> list[Path]:
    """Write the pictures of some metrics: the trade-off of the first two, and each along λ or the first numeric axis.

    Args:
        frontier: the sweep, whose points have the metrics.
        out_path: its output folder.
        measures: the metrics.

    Returns:
        The files written, named `metrics_frontier.png` and the like; a picture without data is removed.
    """
    from mergekit_calib.report.figures.pictures import FORMATS, PICTURES, draw_pictures, of_measures

    folder, written = Path(out_path) / "calibration", []
    drawn = draw_pictures(of_measures(frontier, measures), FORMATS)
    for name in (name.replace(".png", f".{each}") for name in PICTURES for each in FORMATS):
        path = folder / f"metrics_{name}"
        if name.startswith("reliability"):
            continue
        if name in drawn:
            write_bytes_atomic(path, drawn[name])
            written.append(path)
        else:
            path.unlink(missing_ok=True)
    return written


def write_page(frontier: Frontier, out_path: str | Path) -> None:
    """Write `report.html` alone to `out_path/calibration/`; the page of a running sweep says so and reloads itself.

    Args:
        frontier: the sweep.
        out_path: its output folder.

    Raises:
        OSError: it could not be written; the page that was there before is unchanged.
    """
    write_text_atomic(Path(out_path) / "calibration" / "report.html", report_html(frontier))
