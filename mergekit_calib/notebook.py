"""A finished sweep as one object in a notebook: its frontier, its tables as data frames, and its pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mergekit_calib.analysis.measures import with_measures
from mergekit_calib.analysis.scoped_statistics import SPLITS
from mergekit_calib.analysis.stored_sweep import read_record
from mergekit_calib.errors import CalibError, near_names
from mergekit_calib.items.item_files import UnreadableItemsError, read_items
from mergekit_calib.items.table import Split, in_selection_split
from mergekit_calib.metrics import choice_probabilities
from mergekit_calib.report.figures.drawing import render, style
from mergekit_calib.report.figures.pictures import PICTURES, frontier_figure, of_measures
from mergekit_calib.report.figures.plot_axis import draw_along_axis
from mergekit_calib.report.figures.plot_frontier import draw_trade_off
from mergekit_calib.report.figures.plot_reliability import draw_reliability
from mergekit_calib.report.page.templates import rendered
from mergekit_calib.report.tables.frames import predicted_frame
from mergekit_calib.report.tables.metric_frames import long_frame, wide_frame
from mergekit_calib.report.tables.rows import frontier_table
from mergekit_calib.report.text.answer import answer_lines
from mergekit_calib.report.text.statements import statements
from mergekit_calib.results.frontier import Frontier, Objective, PointResult
from mergekit_calib.results.result_reader import load_sweep


@dataclass(frozen=True)
class SweepResult:
    """A sweep's frontier and the folder that it was written to.

    As the last line of a notebook cell, it shows the answer, the frontier's picture and the table of points.

    Attributes:
        frontier: the points with their numbers, the choice, the baselines: what `frontier.json` holds.
        folder: the sweep's output folder, which holds the item scores; None if it is not known.
    """

    frontier: Frontier
    folder: Path | None = None
    _computed: dict[str, Frontier] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def load(cls, folder: str | Path) -> SweepResult:
        """Read a sweep from its output folder.

        Args:
            folder: the output folder, or the `calibration/frontier.json` in it. A `frontier.json` elsewhere can be
                read too; its item scores are then not known.

        Returns:
            The sweep, finished or not.

        Raises:
            CalibError: there is no sweep, or its `frontier.json` is damaged.
        """
        path = Path(folder)
        if path.is_dir():
            return cls(load_sweep(path), path)
        is_in_output_folder = path.name == "frontier.json" and path.parent.name == "calibration"
        return cls(load_sweep(path), path.parent.parent if is_in_output_folder else None)

    def _repr_html_(self) -> str:
        figure = frontier_figure(self.frontier)
        picture = "" if figure is None else f"data:image/png;base64,{base64.b64encode(render(figure)).decode('ascii')}"
        return rendered(
            "notebook.html.jinja",
            frontier=self.frontier,
            answer=answer_lines(self.frontier, self.folder),
            statements=statements(self.frontier),
            table=frontier_table(self.frontier).short,
            picture=picture,
        )

    def plot(
        self,
        kind: str = "frontier",
        metric: str | Sequence[str] | None = None,
        ax: Axes | None = None,
        *,
        point: str | None = None,
    ) -> Axes:
        """Draw into one panel, and return it.

        Args:
            kind: `frontier` (one metric against another), `lambda` (a metric along λ, or else the first numeric axis)
                or `reliability` (a point's reliability diagram).
            metric: for `lambda` the name of a metric, the first objective if None; for `frontier` two names, that of
                the vertical axis first, the first two objectives if None. A name is `ece`, `arc_easy/ece` for one task,
                or `kl_to_aligned`. What the sweep did not compute is computed from its item scores.
            ax: the panel to draw into; a new figure of `matplotlib.pyplot` if None.
            point: for `reliability`, the id of the point; the chosen one if None.

        Raises:
            CalibError: there is no such picture, metric or point, or this sweep has no data for it.
        """
        kinds = [name.removesuffix(".png") for name in PICTURES]
        if kind not in kinds:
            raise CalibError(f"there is no picture {kind!r}{near_names(kind, kinds)}; there are {', '.join(kinds)}")
        names = [metric] if isinstance(metric, str) else list(metric or [])
        most = {"frontier": 2, "lambda": 1, "reliability": 0}[kind]
        if names and len(names) != most:
            wanted = {0: "no metric", 1: "one metric", 2: "two metrics, as metric=('acc', 'ece')"}[most]
            raise CalibError(f"plot({kind!r}) takes {wanted}; found {', '.join(names)}")
        frontier, measures = self._with(names) if names else (self.frontier, self.frontier.objectives)
        shown = frontier.selected if point is None else self._point(point)
        drawn, made = False, None
        with style():
            if ax is None:
                made, ax = pyplot.subplots()
            if kind == "frontier":
                drawn = draw_trade_off(ax, of_measures(frontier, measures), in_panel=True)
            elif kind == "lambda":
                drawn = draw_along_axis(ax, frontier, measures[0])
            elif shown is not None:
                drawn = draw_reliability(ax, frontier, shown)
        if not drawn:
            pyplot.close(made) if made is not None else None
            raise CalibError(f"this sweep has no data for the picture {kind!r}")
        return ax

    def figure(self, kind: str = "frontier", metrics: str | Sequence[str] | None = None) -> Figure:
        """Draw a whole picture as the report has it: with a panel for each metric along λ, or several diagrams.

        Args:
            kind: `frontier`, `lambda` or `reliability`.
            metrics: names of metrics in place of the objectives, as in `plot`.

        Raises:
            CalibError: there is no such picture or metric, or this sweep has no data for it.
        """
        draw = PICTURES.get(f"{kind}.png")
        if draw is None:
            kinds = [name.removesuffix(".png") for name in PICTURES]
            raise CalibError(f"there is no picture {kind!r}{near_names(kind, kinds)}; there are {', '.join(kinds)}")
        frontier = of_measures(*self._with(metrics)) if metrics else self.frontier
        figure = draw(frontier)
        if figure is None:
            raise CalibError(f"this sweep has no data for the picture {kind!r}")
        return figure

    def points_frame(self, metrics: str | Sequence[str] | None = None, *, long: bool = False) -> pd.DataFrame:
        """Return the points as a data frame; every number of every point is in `points.csv` and in the long form.

        Args:
            metrics: names of metrics, as in `plot`. If None: in the wide form the objectives, then other metrics of all
                items pooled; in the long form every metric that the sweep has.
            long: whether to return a tidy frame with one row for each estimate: `point`, `axis.<name>`, `task`,
                `metric`, `split`, `value`, `low`, `high`, `n`. The wide form has one row for each point and at most 30
                columns: `id`, `role`, `status`, `axis.<name>`, the metrics on the held-out split as `<name>`,
                `<name>.low` and `<name>.high`, `on_frontier`, `superior`, `selected`.

        Raises:
            CalibError: a metric is unknown, or the metrics do not fit into the wide form.
        """
        # A frontier.json alone is taken as it is; a metric that is computed is computed on every split.
        splits: Sequence[Split] = SPLITS if long and self.folder is not None else ("held_out",)
        frontier, measures = self._with(metrics, splits) if metrics else (self.frontier, [])
        return long_frame(frontier, measures) if long else wide_frame(frontier, measures)

    def _with(
        self, names: str | Sequence[str], splits: Sequence[Split] = ("held_out",)
    ) -> tuple[Frontier, list[Objective]]:
        """Return the sweep with these metrics, which are kept for the next call."""
        frontier, measures = with_measures(self._computed.get("", self.frontier), self.folder, names, splits)
        self._computed[""] = frontier
        return frontier, measures

    def _point(self, point: str) -> PointResult:
        try:
            return self.frontier.point(point)
        except KeyError as problem:
            raise CalibError(str(problem.args[0])) from None

    def predicted_frame(self) -> pd.DataFrame:
        """Return the metrics that `search: {strategy: curve}` predicts along the axis, one row for each value.

        Columns: `axis`, `at` (the value of the axis), `scope`, `metric`, `split`, `value`, and `typical_error` (in
        standard errors, on the held-out split). Without a prediction there are no rows.
        """
        return predicted_frame(self.frontier)

    def items_frame(self, points: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the item scores as a data frame, one row for each point and document.

        Columns: `point`, `entry`, `task`, `doc_id`, `doc_hash`, `split`; for items with choices `log_likelihoods`
        (nats), `labels` (the numbers of the correct choices), `answer` (the number of the likeliest choice), `correct`
        and `confidence` (the probability of the answer), else missing; `generations`; and each of the task's own
        metrics as `value.<name>`.

        Args:
            points: ids of points; if None, all points that were scored to the end.

        Raises:
            CalibError: the folder is not known or has no record of a sweep, or a point has no item scores in it that
                can be read.
        """
        if self.folder is None:
            raise CalibError("item scores are in the sweep's output folder: use SweepResult.load(folder)")
        keys = read_record(self.folder)["points"]
        point_ids = [p.id for p in self.frontier.complete_points] if points is None else list(points)
        entry_of = {task: entry.name for entry in self.frontier.suite for task in entry.tasks}
        frames = []
        for point in point_ids:
            files = (
                sorted((self.folder / "calibration" / "items").glob(f"*{keys[point]}.parquet")) if point in keys else []
            )
            if not files and points is not None:
                raise CalibError(f"{self.folder}: no item scores of point {point!r}; there are {', '.join(keys)}")
            frames += [_items_of_point(point, path, keys[point], entry_of) for path in files[:1]]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _items_of_point(point: str, path: Path, key: str, entry_of: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows of a file of item scores.

    Args:
        point: the point's id.
        path: the file.
        key: the point's content key.
        entry_of: task → the name of its suite entry. Files of versions before 0.2 name it by the path of the task.
    """
    try:
        _, stored = read_items(path, key)
    except (UnreadableItemsError, OSError) as problem:
        raise CalibError(f"{path} {problem}; run the sweep's command again, which scores that point again") from problem
    rows = []
    for row in stored:
        split = "selection" if in_selection_split(row["doc_hash"]) else "held_out"
        entry = entry_of.get(row["task"], row["entry"])
        item = {"point": point, "entry": entry, "task": row["task"], "doc_id": row["doc_id"]}
        item |= {"doc_hash": row["doc_hash"], "split": split}
        likelihoods = np.array([row["log_likelihoods"]], dtype=np.float64)
        if likelihoods.size:
            probabilities = choice_probabilities(likelihoods)[0]
            answer = int(probabilities.argmax())
            item |= {
                "log_likelihoods": row["log_likelihoods"],
                "labels": [i for i, is_label in enumerate(row["labels"]) if is_label],
                "answer": answer,
                "correct": bool(row["labels"][answer]),
                "confidence": float(probabilities[answer]),
            }
        if row["generations"] is not None:
            item["generations"] = row["generations"]
        rows.append({**item, **{f"value.{name}": value for name, value in row["values"]}})
    frame: pd.DataFrame = pd.DataFrame(rows)
    return frame
