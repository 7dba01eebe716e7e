"""Sweeps are compared by the gains of each choice over its own parents, in a figure, a table and a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib.text import Text

from helpers.report_factory import make_frontier
from mergekit_calib.cli import main
from mergekit_calib.errors import CalibError
from mergekit_calib.report.figures.drawing import style
from mergekit_calib.report.figures.plot_compare import comparison_figure
from mergekit_calib.report.tables.comparison import compared, comparison_frame, comparison_table
from mergekit_calib.results.findings import Estimate, Objective
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.storage.atomic import write_text_atomic


def saved(frontier: Frontier, folder: Path) -> Path:
    write_text_atomic(folder / "calibration" / "frontier.json", frontier.model_dump_json())
    return folder


def with_diversity(frontier: Frontier) -> Frontier:
    """distinct_2 falls from 0.8 at λ = 0 to 0.4 at λ = 1."""
    frontier.objectives.append(Objective(metric="distinct_2", task="calib_diversity", direction="maximize"))
    for point in frontier.points:
        value = 0.8 - 0.4 * float(point.axes["lambda"])
        point.metrics["calib_diversity"] = {"distinct_2": {"held_out": Estimate(value=value, n=40)}}
    return frontier


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [
        saved(make_frontier(name="linear", select="lambda=0.6"), tmp_path / "a"),
        saved(with_diversity(make_frontier(name="ties", method="ties", select="lambda=0.3")), tmp_path / "b"),
    ]


def test_gains_are_the_choices_paired_differences_to_both_parents(folders: list[Path]) -> None:
    row = comparison_frame(compared(folders)).iloc[0]
    frontier = Frontier.load(folders[0])
    for parent in ("base", "aligned"):
        for title, name in (("accuracy", "acc"), ("calibration", "ece")):
            expected = frontier.point("lambda=0.6").differences[parent][name]
            for part in ("value", "low", "high"):
                assert row[f"{title}.minus_{parent}.{part}"] == getattr(expected, part)


def test_the_share_recovered_is_of_the_loss_from_base_to_aligned(folders: list[Path]) -> None:
    frame = comparison_frame(compared(folders))
    frontier = Frontier.load(folders[0])
    ece = {p.id: p.estimate(frontier.objectives[1]).value or 0.0 for p in frontier.points}
    expected = (ece["lambda=1"] - ece["lambda=0.6"]) / (ece["lambda=1"] - ece["lambda=0"])
    assert frame["calibration.recovered.value"][0] == pytest.approx(expected)
    assert frame["diversity.recovered.value"][1] == pytest.approx(0.7)
    assert pd.isna(frame["diversity.recovered.value"][0])
    titles, rows = comparison_table(compared(folders))
    assert [row[titles.index("diversity recovered")] for row in rows] == ["–", "", "70 %", ""]


def test_a_share_is_printed_with_its_interval_if_the_run_has_one(tmp_path: Path) -> None:
    frontier = make_frontier(select="lambda=0.6")
    frontier.point("lambda=0.6").recovered["ece"] = Estimate(value=0.444, low=0.312, high=0.586, n=600)
    sweeps = compared([saved(frontier, tmp_path)])
    frame, (titles, rows) = comparison_frame(sweeps), comparison_table(sweeps)
    assert [frame[f"calibration.recovered.{part}"][0] for part in ("value", "low", "high")] == [0.444, 0.312, 0.586]
    assert rows[0][titles.index("ECE recovered")] == "44 [31, 59] %"


def test_no_share_is_recovered_if_aligned_is_no_worse_than_base(tmp_path: Path) -> None:
    frontier = make_frontier()
    ece = frontier.points[0].metrics["suite"]["ece"]
    ece["held_out"] = Estimate(value=0.9)
    (sweep,) = compared([saved(frontier, tmp_path)])
    assert sweep.recovered(sweep.calibration) is None
    titles, rows = comparison_table([sweep])
    assert rows[0][titles.index("ECE recovered")] == "–"


def test_a_metric_that_is_not_an_objective_is_taken_from_the_pooled_items(tmp_path: Path) -> None:
    (sweep,) = compared([saved(make_frontier(objectives=("brier", "acc")), tmp_path)])
    assert sweep.calibration.name == "ece"
    assert sweep.gain(sweep.calibration, "aligned").value is not None


def test_sweeps_of_the_same_name_are_labelled_by_their_folders(tmp_path: Path) -> None:
    folders = [saved(make_frontier(), tmp_path / name) for name in "ab"]
    assert [sweep.label for sweep in compared(folders)] == [str(folder) for folder in folders]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"select": None}, "no point is chosen yet"),
        ({"failed": ("lambda=0", "lambda=1")}, "no parent was scored"),
    ],
)
def test_a_sweep_that_cannot_be_compared_is_refused_with_the_reason(options: dict, words: str, tmp_path: Path) -> None:
    with pytest.raises(CalibError, match=words):
        compared([saved(make_frontier(**options), tmp_path / "odd")])


def test_sweeps_of_one_two_and_eight_parents_stand_in_one_comparison(tmp_path: Path) -> None:
    eight = ("base", "one", "two", "three", "four", "five", "six", "seven")
    frontiers = [
        make_frontier({"layers": [0.2, 0.4]}, roles=("base",), name="stack", select="layers=0.2"),
        make_frontier(name="pair", select="lambda=0.6"),
        make_frontier({"weight": [0.3, 0.6]}, roles=eight, name="soup", select="weight=0.6"),
    ]
    sweeps = compared([saved(frontier, tmp_path / frontier.name) for frontier in frontiers])
    titles, rows = comparison_table(sweeps)
    assert [row[titles.index("against the parent")] for row in rows if row[0] == "stack"] == ["base: org/some-model-pt"]
    assert len(rows) == 1 + 2 + 8
    soup = frontiers[2].point("weight=0.6")
    seven = soup.differences["seven"]["acc"]
    assert rows[-1][titles.index("accuracy")].startswith(f"{seven.value:+.3f}".replace("-", "−"))
    assert [row[titles.index("ECE recovered")] for row in rows if row[0]][::2] == ["–", "–"]
    frame = comparison_frame(sweeps).set_index("sweep")
    assert frame["accuracy.minus_seven.value"]["soup"] == seven.value
    assert pd.isna(frame["accuracy.minus_seven.value"]["pair"])
    assert frame["parent.seven"]["soup"] == "org/seven"
    measured, relative = (
        np.isfinite(np.concatenate([mark.get_offsets() for mark in panel.collections])).all(axis=1).sum()
        for panel in comparison_figure(sweeps).axes
    )
    marks_of_stack = len(frontiers[0].points) + 1  # with the ring; its one parent is neither the best nor the worst
    assert relative == measured - marks_of_stack


def test_a_parent_that_was_not_scored_has_no_differences(tmp_path: Path) -> None:
    sweeps = compared([saved(make_frontier(failed=("lambda=1",), select="lambda=0.6"), tmp_path)])
    titles, rows = comparison_table(sweeps)
    accuracy = [row[titles.index("accuracy")] for row in rows]
    assert accuracy[0] != "–"
    assert accuracy[1] == "–"
    comparison_figure(sweeps)


def test_a_chosen_parent_is_not_compared_with_itself(tmp_path: Path) -> None:
    titles, rows = comparison_table(compared([saved(make_frontier(select="lambda=1"), tmp_path)]))
    assert rows[1][titles.index("accuracy")] == "chosen itself"
    assert rows[0][titles.index("accuracy")] != "chosen itself"


def test_the_figure_is_as_wide_as_a_page_of_text_and_nothing_overlaps(tmp_path: Path) -> None:
    folders = [saved(make_frontier(name=f"a-sweep-with-a-long-name-{i}"), tmp_path / str(i)) for i in range(8)]
    figure = comparison_figure(compared(folders))
    assert figure.get_figwidth() <= 7
    with style():
        figure.canvas.draw()
        shown = [t for t in figure.findobj(Text) if isinstance(t, Text) and t.get_visible() and t.get_text().strip()]
        titles = {axes.get_title(loc=where) for axes in figure.axes for where in ("left", "center", "right")}
        labels = [label for axes in figure.axes for label in (axes.xaxis.label, axes.yaxis.label)]
        words = [t for t in shown if t.get_text() in titles or t in [*labels, *figure.legends[0].get_texts()]]
        boxes = [t.get_window_extent() for t in words]
    assert len(words) == 2 + 4 + 8 + 3
    for i, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_the_command_writes_figure_table_and_page(folders: list[Path], tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["compare", *map(str, folders), "--to", str(tmp_path / "to")])
    assert done.exit_code == 0, done.output
    names = {path.name for path in (tmp_path / "to").iterdir()}
    tables = {f"comparison.{kind}" for kind in ("png", "svg", "csv", "md", "html")}
    assert names == tables | {"comparison_pairs.csv", "along.png", "along.svg"}
    page = (tmp_path / "to" / "comparison.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml;base64,") == 1
    assert 'id="plane-figure"' in page
    assert "<script src" not in page
    assert list(pd.read_csv(tmp_path / "to" / "comparison.csv")["sweep"]) == ["linear", "ties"]


def test_names_are_escaped_in_the_page(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script>|"
    folder = saved(make_frontier(name=attack, models={"base": attack, "aligned": attack}), tmp_path / "a")
    done = CliRunner().invoke(main, ["compare", str(folder), "--to", str(tmp_path / "to")])
    assert done.exit_code == 0, done.output
    assert "<script>alert" not in (tmp_path / "to" / "comparison.html").read_text(encoding="utf-8")
    table = (tmp_path / "to" / "comparison.md").read_text(encoding="utf-8").splitlines()[:3]
    assert len({line.count("|") for line in table}) == 1


def test_a_folder_without_a_sweep_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["compare", str(tmp_path)])
    assert done.exit_code == 1
    assert "holds no sweep: there is no calibration/frontier.json" in done.output


def test_any_metrics_are_compared_in_every_format(finished_demo: Path, tmp_path: Path) -> None:
    options = ["--metrics", "brier,calib_demo/nll", "--format", "md,csv,tex", "--to", str(tmp_path)]
    done = CliRunner().invoke(main, ["compare", str(finished_demo), str(finished_demo), *options])
    assert done.exit_code == 0, done.output
    frontier = Frontier.load(finished_demo)
    frame = pd.read_csv(tmp_path / "comparison.csv")
    for name in ("brier", "calib_demo/nll"):
        expected = frontier.selected.differences["aligned"][name]
        assert frame[f"{name}.minus_aligned.value"][0] == pytest.approx(expected.value)
        assert frame[f"{name}.minus_aligned.low"][0] == pytest.approx(expected.low)
    pairs = pd.read_csv(tmp_path / "comparison_pairs.csv").iloc[0]
    assert pairs["brier.minus.value"] == pairs["calib_demo/nll.minus.high"] == 0.0
    latex = (tmp_path / "comparison.tex").read_text(encoding="utf-8")
    assert r"calib\_demo/nll $\downarrow$" in latex
    assert (tmp_path / "along.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--metrics", "accuracy"], "has no metric 'accuracy'"),
        (["--format", "pdf"], "no format 'pdf'; there are md, csv"),
    ],
)
def test_unknown_metrics_and_formats_are_refused(folders: list[Path], options: list[str], words: str, tmp_path) -> None:
    done = CliRunner().invoke(main, ["compare", *map(str, folders), "--to", str(tmp_path / "to"), *options])
    assert done.exit_code == 1
    assert words in " ".join(done.output.split())
    assert not (tmp_path / "to").exists()
