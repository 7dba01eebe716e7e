"""`report` writes the report again from a run's files alone, and exports its table."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from helpers.report_factory import make_frontier
from mergekit_calib.cli import main
from mergekit_calib.report.tables.export import as_json, as_latex, latex
from mergekit_calib.results.baseline_findings import Baseline
from mergekit_calib.results.findings import Estimate
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.storage.atomic import write_text_atomic

SPECIALS = r"50% of $x_1$ & {a}~b^c #1 \frac"


@pytest.fixture
def frontier() -> Frontier:
    frontier = make_frontier(failed=("lambda=0.3",))
    metrics = {"suite": {"acc": {"held_out": Estimate(value=0.7, low=0.6, high=0.8)}}}
    frontier.baselines = [Baseline(id="base&aligned", kind="average", of=["lambda=0", "lambda=1"], metrics=metrics)]
    return frontier


def body(text: str) -> list[str]:
    return text.split("\\midrule\n", 1)[1].split("\\bottomrule")[0].splitlines()


def test_the_latex_table_has_one_row_for_each_point_with_the_same_number_of_columns(frontier: Frontier) -> None:
    text = as_latex(frontier)
    columns = re.search(r"\\begin\{tabular\}\{([lrc]+)\}", text)
    assert columns is not None
    rows = [line for line in body(text) if line.endswith(r"\\")]
    assert len(rows) == len(frontier.points) + len(frontier.baselines)
    for row in rows:
        spanned = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", row))
        assert len(re.findall(r"(?<!\\)&", row)) + spanned == len(columns[1]) - 1, row
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in text
    assert r"\textbf{$\lambda$ = 0.6} $\star$" in text
    assert "failed: OutOfMemoryError" in text


def test_names_are_escaped_in_latex(frontier: Frontier) -> None:
    frontier.points[2].id = SPECIALS
    frontier.models["base"] = SPECIALS
    text = as_latex(frontier)
    escaped = r"50\% of \$x\_1\$ \& \{a\}\textasciitilde{}b\textasciicircum{}c \#1 \textbackslash{}frac"
    assert latex(SPECIALS) == escaped
    assert text.count(escaped) == 2
    assert latex("on <cuda:0> | x") == r"on \textless{}cuda:0\textgreater{} \textbar{} x"
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")


def test_a_row_that_starts_with_a_bracket_is_no_argument_of_the_line_before(frontier: Frontier) -> None:
    frontier.points[2].id, frontier.points[2].selected = "[2]", False
    assert "\n{}[2] &" in as_latex(frontier)


def test_json_contains_the_tables_numbers_unrounded(frontier: Frontier) -> None:
    content = json.loads(as_json(frontier))
    assert {p["id"] for p in content["points"]} == {p.id for p in frontier.points}
    chosen = next(p for p in content["points"] if p["selected"])
    estimate = frontier.point(chosen["id"]).estimate(frontier.objectives[1])
    assert chosen["metrics"]["ece"]["value"] == estimate.value
    assert chosen["metrics"]["ece"]["low"] == estimate.low
    selection = frontier.point(chosen["id"]).estimate(frontier.objectives[1], "selection")
    assert chosen["chosen_on"]["ece"] == selection.value
    difference = frontier.point(chosen["id"]).differences["aligned"]["ece"]
    assert chosen["differences"]["aligned"]["ece"]["value"] == difference.value
    failed = next(p for p in content["points"] if p["status"] == "failed")
    assert failed["reason"].startswith("OutOfMemoryError")
    assert content["baselines"][0]["metrics"]["acc"]["value"] == 0.7


def test_report_writes_every_file_again_and_the_formats_asked_for(frontier: Frontier, tmp_path: Path) -> None:
    write_text_atomic(tmp_path / "calibration" / "frontier.json", frontier.model_dump_json())
    done = CliRunner().invoke(main, ["report", str(tmp_path), "--format", "md,csv, json,latex"])
    assert done.exit_code == 0, done.output
    names = {path.name for path in (tmp_path / "calibration").iterdir()}
    assert {f"points.{kind}" for kind in ("md", "csv", "json", "tex")} <= names
    assert {"frontier.svg", "lambda.png", "reliability.svg", "report.html"} <= names
    assert len(pd.read_csv(tmp_path / "calibration" / "points.csv")) == len(frontier.points)
    assert done.output.count("points.") == 4
    assert not (tmp_path / "README.md").exists()  # as in a run with --no-write-model-card


def test_an_unknown_format_is_named_with_the_known_ones(frontier: Frontier, tmp_path: Path) -> None:
    write_text_atomic(tmp_path / "calibration" / "frontier.json", frontier.model_dump_json())
    done = CliRunner().invoke(main, ["report", str(tmp_path), "--format", "docx"])
    assert done.exit_code == 1
    assert "no format 'docx'; there are md, csv, json, latex" in done.output
    assert {path.name for path in (tmp_path / "calibration").iterdir()} == {"frontier.json"}
