"""Tables, pictures and frames of metrics that are asked for by name, on a finished sweep of the demo."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from nbclient import NotebookClient
from PIL import Image

from mergekit_calib import SweepResult
from mergekit_calib.analysis.measures import names_in
from mergekit_calib.analysis.stored_sweep import StoredSweep
from mergekit_calib.cli import main
from mergekit_calib.metrics import smooth_ece


def report(out: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["report", str(out), *options])


def test_report_writes_table_and_pictures_of_any_metrics_in_every_format(demo_copy: Path) -> None:
    calibration = demo_copy / "calibration"
    before = (calibration / "frontier.json").read_bytes()
    done = report(demo_copy, "--metrics", "acc,brier, calib_demo/auroc,kl_to_aligned", "--format", "md,csv,tex,json")
    assert done.exit_code == 0, done.output
    names = ["acc", "brier", "calib_demo/auroc", "kl_to_aligned"]
    written = [Path(line).name for line in done.stdout.split("\n") if line]
    pictures = [f"metrics_{kind}.{form}" for kind in ("frontier", "lambda") for form in ("png", "svg")]
    assert written == ["report.html", "metrics.md", "metrics.csv", "metrics.tex", "metrics.json", *pictures]
    table = pd.read_csv(calibration / "metrics.csv").set_index("id")
    assert [name for name in table.columns if name in names] == names
    assert (table["calib_demo/auroc"].between(table["calib_demo/auroc.low"], table["calib_demo/auroc.high"])).all()
    aligned = table[table["role"] == "aligned"].iloc[0]
    assert aligned["kl_to_aligned"] == 0.0
    assert table["kl_to_aligned"].max() > 0.01
    content = json.loads((calibration / "metrics.json").read_text(encoding="utf-8"))
    for point in content["points"]:
        expected = table.loc[point["id"], names].to_dict()
        assert {name: each["value"] for name, each in point["metrics"].items()} == pytest.approx(expected)
    titles = (calibration / "metrics.md").read_text(encoding="utf-8").split("\n")[0]
    assert titles.split(" | ")[1:5] == ["acc ↑", "brier ↓", "calib_demo/auroc ↑", "kl_to_aligned ↓"]
    with Image.open(calibration / "metrics_lambda.png") as tall, Image.open(calibration / "lambda.png") as two:
        assert tall.height > 1.4 * two.height  # four panels instead of two
    assert "auroc" in (calibration / "report.html").read_text(encoding="utf-8")
    assert (calibration / "frontier.json").read_bytes() == before


def test_the_latex_table_of_metrics_has_a_cell_for_each_metric_in_every_row(demo_copy: Path) -> None:
    assert report(demo_copy, "--metrics", "acc,ece,brier,nll", "--format", "latex").exit_code == 0
    text = (demo_copy / "calibration" / "metrics.tex").read_text(encoding="utf-8")
    columns = re.search(r"\\begin\{tabular\}\{([lrc]+)\}", text)
    assert columns is not None
    rows = [line for line in text.split("\n") if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(columns[1]) - 1}
    assert r"brier $\downarrow$" in rows[0]
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule") < text.index(r"\caption")
    for opened in re.findall(r"\\begin\{(\w+)\}", text):
        assert text.count(rf"\end{{{opened}}}") == text.count(rf"\begin{{{opened}}}")
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--metrics", "accuracy"], r"no metric 'accuracy'.*there are acc, acc_norm, aurc, auroc"),
        (["--metrics", "arc/ece"], r"no task 'arc' in out; there are calib_demo, macro"),
        (["--metrics", "kl"], r"kl compares with a parent: write kl_to_base or kl_to_aligned"),
        (["--metrics", ","], r"names no metric"),
        (["--metrics", "acc", "--format", "pdf"], r"no format 'pdf'; there are md, csv, json, latex, tex"),
    ],
)
def test_what_is_unknown_is_refused_with_what_there_is(finished_demo: Path, options: list[str], words: str) -> None:
    files = {path: path.stat().st_mtime_ns for path in finished_demo.rglob("*") if path.is_file()}
    done = report(finished_demo, *options)
    assert done.exit_code == 1
    assert re.search(words, done.output.replace("\n", " ")), done.output
    assert {path: path.stat().st_mtime_ns for path in finished_demo.rglob("*") if path.is_file()} == files


def test_a_computed_metric_is_that_of_the_held_out_items(finished_demo: Path) -> None:
    frame = SweepResult.load(finished_demo).points_frame("smooth_ece", long=True)
    stored = StoredSweep.load(finished_demo)
    for point in stored.frontier.complete_points[:2]:
        (table,) = stored.tables(point.id)["calib_demo"]
        held_out = table.take(table.rows("held_out"))
        of_suite = frame[(frame["point"] == point.id) & (frame["task"] == "suite") & (frame["split"] == "held_out")]
        assert of_suite["value"].item() == pytest.approx(smooth_ece(held_out.probabilities, held_out.labels))
        assert of_suite["n"].item() == len(held_out)


def test_names_with_commas_are_found_whole() -> None:
    known = {"exact_match,strict-match", "acc", "ece"}
    assert names_in("acc,exact_match,strict-match, ece", known) == ["acc", "exact_match,strict-match", "ece"]


CELLS = [
    "import matplotlib.pyplot as plt\nfrom mergekit_calib import SweepResult\nsweep = SweepResult.load(FOLDER)",
    "figure, panels = plt.subplots(1, 2)\n"
    "assert sweep.plot('lambda', metric='auroc', ax=panels[0]) is panels[0]\n"
    "sweep.plot('reliability', ax=panels[1])\n"
    "figure.savefig(PICTURE)",
    "sweep.plot('frontier', metric=('acc', 'brier'))",
    "sweep.points_frame(long=True)",
    "sweep.points_frame().to_csv(TABLE, index=False)",
]


def test_a_notebook_draws_into_its_own_panels_and_gets_frames(finished_demo: Path, tmp_path: Path) -> None:
    places = {"FOLDER": finished_demo, "PICTURE": tmp_path / "two.png", "TABLE": tmp_path / "wide.csv"}
    named = "\n".join(f"{name} = {str(path)!r}" for name, path in places.items())
    cells = [nbformat.v4.new_code_cell(source) for source in ["%matplotlib inline\n" + named, *CELLS]]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    shown = [[output for output in cell.outputs if "data" in output] for cell in notebook.cells]
    assert any("image/png" in output.data for output in shown[3])
    assert any("split" in output.data.get("text/html", "") for output in shown[4])
    assert len(pd.read_csv(tmp_path / "wide.csv").columns) <= 30
    with Image.open(tmp_path / "two.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    left, right = np.array_split(pixels, 2, axis=1)
    assert left.std() > 10
    assert right.std() > 10
