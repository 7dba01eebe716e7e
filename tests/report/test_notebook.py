"""A sweep's result shows itself in a notebook, and gives its points, its items and its pictures."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.report_factory import make_frontier
from mergekit_calib import Frontier, SweepResult
from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import ItemStore, StoredPoint
from mergekit_calib.items.table import ItemTable
from mergekit_calib.report.text.answer import answer_lines
from mergekit_calib.storage.atomic import write_text_atomic


class Balanced(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def out(tmp_path):
    """A run of two points of four items each, three with choices."""
    frontier = make_frontier({"lambda": [0.0, 1.0]})
    store = ItemStore(tmp_path / "calibration" / "items")
    keys = {}
    for i, point in enumerate(frontier.points):
        choices = ItemTable(
            task="calib_demo",
            doc_ids=np.arange(3),
            doc_hashes=[f"hash{k}" for k in range(3)],
            log_likelihoods=np.log([[0.2, 0.8], [0.6, 0.4], [0.5 - 0.4 * i, 0.5 + 0.4 * i]]),
            labels=np.array([[False, True], [False, True], [True, False]]),
            choice_chars=np.ones((3, 2), dtype=np.int64),
            choice_bytes=np.ones((3, 2), dtype=np.int64),
        )
        empty = np.zeros((1, 0))
        texts = ItemTable(
            task="texts",
            doc_ids=np.array([0]),
            doc_hashes=["other"],
            log_likelihoods=empty,
            labels=empty.astype(bool),
            choice_chars=empty.astype(np.int64),
            choice_bytes=empty.astype(np.int64),
            generations=[["a", "b"]],
            values={"distinct_2": np.array([0.7])},
        )
        keys[point.id] = f"{i:016x}"
        tables = {"calib_demo": [choices], "texts": [texts]}
        store.save(keys[point.id], StoredPoint(point.id, tables, "d", {}), {})
    write_text_atomic(tmp_path / "calibration" / "frontier.json", frontier.model_dump_json())
    listed = "\n".join(f"  {name}: '{key}'" for name, key in keys.items())
    write_text_atomic(tmp_path / "calibration" / "sweep.yml", f"points:\n{listed}\n")
    return tmp_path


def test_a_result_shows_answer_picture_and_table() -> None:
    frontier = make_frontier(failed=("lambda=0.3",))
    text = SweepResult(frontier)._repr_html_()
    page = Balanced(text)
    assert page.open == []
    assert all(line in text for line in answer_lines(frontier))
    assert "failed: OutOfMemoryError" in text
    assert text.count("<tr") == 1 + len(frontier.points)
    assert len(re.findall("data:image/png;base64,", text)) == 1


@pytest.mark.parametrize("roles", [("base",), ("math", "code"), tuple(f"model-{i}" for i in range(8))])
def test_a_result_of_one_to_eight_parents_shows_itself_with_its_answer(roles: tuple[str, ...]) -> None:
    frontier = make_frontier({"weight": [0.2, 0.4]}, roles=roles, select="weight=0.2")
    text = SweepResult(frontier)._repr_html_()
    assert Balanced(text).open == []
    assert all(f'<th style="text-align: left">{role}' in text for role in roles)
    assert all(line in text for line in answer_lines(frontier))


def test_names_are_escaped_in_a_notebook() -> None:
    attack = "<script>alert(1)</script>"
    frontier = make_frontier(failed=("lambda=0.3",), name=attack, models={"base": attack, "aligned": attack})
    for point in frontier.points:
        point.id = attack
    assert "script" not in Balanced(SweepResult(frontier)._repr_html_()).seen


def test_a_result_without_points_shows_itself_too() -> None:
    frontier = make_frontier(points=[], select=None, finished=False)
    assert "No point is chosen" in SweepResult(frontier)._repr_html_()


def test_points_come_as_a_frame() -> None:
    frontier = make_frontier()
    assert list(SweepResult(frontier).points_frame()["id"]) == [p.id for p in frontier.points]


def test_items_come_with_answer_confidence_and_split(out) -> None:
    frame = SweepResult.load(out).items_frame()
    assert len(frame) == 8
    first = frame[(frame.point == "lambda=1") & (frame.task == "calib_demo")]
    assert list(first.answer) == [1, 0, 1]
    assert list(first.correct) == [True, False, False]
    assert list(first.confidence) == pytest.approx([0.8, 0.6, 0.9])
    assert list(first.labels) == [[1], [1], [0]]
    assert set(frame.split) <= {"selection", "held_out"}
    texts = frame[frame.task == "texts"]
    assert list(texts.generations) == [["a", "b"]] * 2
    assert list(texts["value.distinct_2"]) == [0.7, 0.7]
    assert texts.confidence.isna().all()


def test_items_of_given_points(out) -> None:
    result = SweepResult.load(out / "calibration" / "frontier.json")
    assert set(result.items_frame(["lambda=0"]).point) == {"lambda=0"}
    with pytest.raises(CalibError, match=r"'lambda=7'; there are lambda=0, lambda=1"):
        result.items_frame(["lambda=7"])


def test_items_need_a_folder(out) -> None:
    frontier = make_frontier({"lambda": [0.0, 1.0]})
    with pytest.raises(CalibError, match=r"SweepResult\.load"):
        SweepResult(frontier).items_frame()
    assert set(SweepResult(frontier, out).items_frame().point) == {"lambda=0", "lambda=1"}


def test_a_result_is_loaded_from_its_folder_or_its_frontier_json(out, tmp_path) -> None:
    by_folder, by_file = SweepResult.load(out), SweepResult.load(str(out / "calibration" / "frontier.json"))
    assert by_folder == by_file
    assert by_folder.folder == out
    assert by_folder.frontier == Frontier.load(out)


def test_a_frontier_json_that_stands_alone_has_no_folder(out, tmp_path) -> None:
    alone = tmp_path / "copied.json"
    write_text_atomic(alone, (out / "calibration" / "frontier.json").read_text(encoding="utf-8"))
    assert SweepResult.load(alone).folder is None


@pytest.mark.parametrize("kind", ["frontier", "lambda", "reliability"])
def test_it_draws_each_picture_as_a_whole_and_into_one_panel(kind: str) -> None:
    result = SweepResult(make_frontier())
    figure = result.figure(kind)
    assert isinstance(figure, Figure)
    assert any(axes.has_data() for axes in figure.axes)
    _, panels = pyplot.subplots(1, 2)
    assert result.plot(kind, ax=panels[0]) is panels[0]
    assert panels[0].has_data()
    assert not panels[1].has_data()
    own = result.plot(kind)
    assert isinstance(own, Axes)
    assert own.has_data()
    pyplot.close("all")


def test_a_panel_shows_the_metric_that_is_asked_for() -> None:
    frontier = make_frontier(objectives=("acc", "ece"))
    panel = SweepResult(frontier).plot("lambda", metric="brier")
    assert "brier" in panel.get_ylabel()
    brier = {p.axes["lambda"]: p.metrics["suite"]["brier"]["held_out"].value for p in frontier.complete_points}
    lines = [dict(zip(*line.get_data(), strict=True)) for line in panel.lines]
    assert brier in lines
    both = SweepResult(frontier).plot("frontier", metric=("brier", "ece"))
    assert "brier" in both.get_ylabel()
    assert "ece" in both.get_xlabel()
    pyplot.close("all")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "pie"}, "there are frontier, lambda, reliability"),
        ({"kind": "lambda", "metric": "accuracy"}, "no metric 'accuracy'.*there are.* acc"),
        ({"kind": "lambda", "metric": "auroc"}, "give that folder"),
        ({"kind": "lambda", "metric": ("acc", "ece")}, "takes one metric; found acc, ece"),
        ({"kind": "reliability", "point": "lambda=9"}, "no point 'lambda=9'; the points are"),
        ({"kind": "reliability"}, "no data"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_reason(options: dict, words: str) -> None:
    with pytest.raises(CalibError, match=words):
        SweepResult(make_frontier(reliability={})).plot(**options)


def test_the_long_frame_has_a_row_for_each_estimate_and_the_wide_one_at_most_30_columns() -> None:
    axes = {"lambda": [0.0, 0.5, 1.0], "density": [0.3, 0.6]}
    frontier = make_frontier(axes, select=None)
    result = SweepResult(frontier)
    long = result.points_frame(long=True)
    assert list(long.columns) == [
        "point", "axis.lambda", "axis.density", "task", "metric", "split", "value", "low", "high", "n",
    ]  # fmt: skip
    assert not long.duplicated(["point", "task", "metric", "split"]).any()
    expected = {
        (p.id, scope, metric, split, e.value)
        for p in frontier.complete_points
        for scope, metrics in p.metrics.items()
        for metric, splits in metrics.items()
        for split, e in splits.items()
    }
    assert set(long[["point", "task", "metric", "split", "value"]].itertuples(index=False, name=None)) == expected
    wide = result.points_frame()
    assert len(wide) == len(frontier.points)
    assert len(wide.columns) <= 30
    assert {"axis.lambda", "acc", "acc.low", "ece.high", "selected"} <= set(wide.columns)
    assert set(result.points_frame("brier", long=True)["metric"]) == {"brier"}


def test_a_wide_frame_of_many_axes_and_metrics_stays_narrow_or_says_what_to_do() -> None:
    frontier = make_frontier({f"w{i}": [0.5] for i in range(28)}, select=None)
    wide = SweepResult(frontier).points_frame(["acc", "ece", "brier"])
    assert len(wide.columns) <= 30
    point = frontier.complete_points[0]
    for i in range(40):
        point.metrics["suite"][f"own_{i}"] = point.metrics["suite"]["acc"]
    for other in frontier.complete_points:
        other.metrics = point.metrics
    assert len(SweepResult(frontier).points_frame().columns) <= 30
    with pytest.raises(CalibError, match=r"40 metrics do not fit.*long=True"):
        SweepResult(frontier).points_frame([f"own_{i}" for i in range(40)])
