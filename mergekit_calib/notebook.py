"""A frontier in a notebook: what it shows of itself, and its items as a data frame."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure

from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import read_rows
from mergekit_calib.items.table import in_selection_split
from mergekit_calib.metrics import choice_probabilities
from mergekit_calib.report.figures.drawing import render
from mergekit_calib.report.figures.pictures import PICTURES, frontier_figure
from mergekit_calib.report.page.templates import rendered
from mergekit_calib.report.tables.frames import points_frame
from mergekit_calib.report.tables.rows import frontier_table
from mergekit_calib.report.text.answer import summary_sentence
from mergekit_calib.report.text.statements import statements
from mergekit_calib.results import frontier as schema


class Frontier(schema.Frontier):
    """A frontier that shows itself, draws its pictures and gives its numbers as data frames."""

    def _repr_html_(self) -> str:
        return notebook_html(self)

    def plot(self, picture: str = "frontier") -> Figure:
        """A picture as a matplotlib figure: `frontier`, `lambda` or `reliability`.

        Raises:
            CalibError: there is none of that name, or no data for it.
        """
        return figure_of(self, picture)

    def points_frame(self) -> pd.DataFrame:
        """The points as a data frame, one row each: the columns of `points.csv`."""
        return points_frame(self)

    def items_frame(self, points: Iterable[str] | None = None, out_path: str | Path | None = None) -> pd.DataFrame:
        """The item scores of all points, or of those with the ids `points`, one row a point and document.

        Args:
            out_path: the sweep's output folder, where it is not the one that this was loaded from or written to.

        Raises:
            CalibError: the folder is not known or holds no sweep, or there is no such point.
        """
        folder = out_path or self.folder
        if folder is None:
            raise CalibError("items are in the sweep's output folder: name it as `out_path`")
        return items_frame(self, folder, points)


def notebook_html(frontier: schema.Frontier) -> str:
    """The answer, the picture and the table, in the notebook's own type and colours; names are data in it."""
    figure = frontier_figure(frontier)
    picture = "" if figure is None else f"data:image/png;base64,{base64.b64encode(render(figure)).decode('ascii')}"
    return rendered(
        "notebook.html.jinja",
        frontier=frontier,
        sentence=summary_sentence(frontier),
        statements=statements(frontier),
        table=frontier_table(frontier),
        picture=picture,
    )


def figure_of(frontier: schema.Frontier, picture: str) -> Figure:
    """`frontier`, `lambda` or `reliability`, as a matplotlib figure.

    Raises:
        CalibError: there is no picture of that name, or the run has no data for it.
    """
    draw = PICTURES.get(f"{picture}.png")
    if draw is None:
        names = ", ".join(name.removesuffix(".png") for name in PICTURES)
        raise CalibError(f"there is no picture {picture!r}; there are {names}")
    figure = draw(frontier)
    if figure is None:
        raise CalibError(f"this sweep has no data for the picture {picture!r}")
    return figure


def items_frame(frontier: schema.Frontier, out_path: str | Path, points: Iterable[str] | None = None) -> pd.DataFrame:
    """Item scores, one row a point and document.

    Columns: `point`, `entry`, `task`, `doc_id`, `doc_hash`, `split`; of items with choices `log_likelihoods` (nats),
    `labels` (the right choices' numbers), `answer` (the likeliest choice's number), `correct` and `confidence` (its
    probability), else missing; `generations`; and each of the task's own metrics as `value.<name>`.

    Args:
        out_path: the sweep's output folder.
        points: ids; all that were scored, if None.

    Raises:
        CalibError: the folder has no record of the sweep, or there is no such point.
    """
    calibration = Path(out_path) / "calibration"
    try:
        keys = yaml.safe_load((calibration / "sweep.yml").read_text(encoding="utf-8"))["points"]
    except (OSError, KeyError, TypeError) as problem:
        raise CalibError(f"{out_path} holds no record of a sweep: calibration/sweep.yml: {problem}") from problem
    wanted = [p.id for p in frontier.complete_points] if points is None else list(points)
    frames = []
    for point in wanted:
        found = sorted((calibration / "items").glob(f"*{keys[point]}.parquet")) if point in keys else []
        if not found and points is not None:
            raise CalibError(f"{out_path}: no items of a point {point!r}; there are {', '.join(keys)}")
        frames += [_items(point, path) for path in found[:1]]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _items(point: str, path: Path) -> pd.DataFrame:
    rows = []
    for row in read_rows(path):
        split = "selection" if in_selection_split(row["doc_hash"]) else "held_out"
        item = {"point": point, "entry": row["entry"], "task": row["task"], "doc_id": row["doc_id"]}
        item |= {"doc_hash": row["doc_hash"], "split": split}
        likelihoods = np.array([row["log_likelihoods"]], dtype=np.float64)
        if likelihoods.size:
            probabilities = choice_probabilities(likelihoods)[0]
            answer = int(probabilities.argmax())
            item |= {
                "log_likelihoods": row["log_likelihoods"],
                "labels": [i for i, right in enumerate(row["labels"]) if right],
                "answer": answer,
                "correct": bool(row["labels"][answer]),
                "confidence": float(probabilities[answer]),
            }
        if row["generations"] is not None:
            item["generations"] = row["generations"]
        rows.append({**item, **{f"value.{name}": value for name, value in row["values"]}})
    return pd.DataFrame(rows)
