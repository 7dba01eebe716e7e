"""Names from elsewhere are safe in cards, tables, LaTeX, CSV, pictures, notebooks and terminals."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
import yaml
from huggingface_hub import metadata_load
from rich.text import Text

from helpers.hostile_names import ACTING, HOSTILE, hostile_frontier
from mergekit_calib.notebook import SweepResult
from mergekit_calib.report.card.model_card import model_card
from mergekit_calib.report.figures.drawing import render
from mergekit_calib.report.figures.plot_axis import axis_figure
from mergekit_calib.report.figures.plot_frontier import frontier_figure
from mergekit_calib.report.figures.plot_reliability import reliability_figure
from mergekit_calib.report.tables.csv_text import cell, csv_text, original
from mergekit_calib.report.tables.export import as_csv, as_latex, as_markdown
from mergekit_calib.report.tables.frames import points_frame
from mergekit_calib.report.terminal.console import ConsoleProgress
from mergekit_calib.report.terminal.safe_console import SafeConsole
from mergekit_calib.report.text.safe_text import cut, on_one_line, printable

every_name = pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)


@every_name
def test_nothing_that_acts_is_left_in_printable_text(name: str) -> None:
    text = printable(name)
    assert not ACTING.search(text)
    assert printable(text) == text
    text.encode()
    assert "\n" not in on_one_line(name)


def test_what_shows_is_kept_in_every_script() -> None:
    for name in ("emoji", "right to left", "html", "latex"):
        assert printable(HOSTILE[name]) == HOSTILE[name]
    assert printable("\x1b[2J\udce9\u202e") == "\\x1b[2J\\udce9\\u202e"
    assert cut("a" * 500 + "end", 40) == f"{'a' * 26}…{'a' * 10}end"


@every_name
def test_the_card_has_front_matter_and_one_line_for_each_name(name: str, tmp_path: Path) -> None:
    text = model_card(hostile_frontier(name))
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    read = metadata_load(tmp_path / "README.md")
    _, matter, body = text.split("---\n", 2)
    assert yaml.safe_load(matter) == read
    assert {"library_name", "tags", "model-index"} <= set(read)
    assert len(read["model-index"]) == 1
    outside_recipes = re.sub(r"(?s)```yaml\n.*?\n```", "", body)
    assert not ACTING.search(outside_recipes)
    assert not re.search(r"<(script|img|/title|/style)", outside_recipes)
    assert "](javascript:" not in outside_recipes
    assert "![b](c)" not in outside_recipes
    assert len([line for line in outside_recipes.splitlines() if line.startswith("# ")]) == 1


@every_name
def test_the_markdown_table_keeps_its_columns(name: str) -> None:
    text = as_markdown(hostile_frontier(name))
    assert not ACTING.search(text)
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({line.count("|") for line in table}) == 1
    assert len(table) == 2 + 5


@every_name
def test_latex_has_only_its_own_commands_in_characters_that_it_knows(name: str) -> None:
    text = as_latex(hostile_frontier(name))
    assert re.fullmatch(r"[ -~\n¡-ſ]*", text)
    commands = set(re.findall(r"\\([a-zA-Z]+)", text))
    assert not commands & {"input", "frac"}
    assert text.count(r"\end{table}") == text.count(r"\begin{table}") == 1
    unescaped = re.sub(r"\\[\\&%$#_{}]", "", text)
    depth = 0
    for character in unescaped:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1
    assert "%" not in unescaped.split("\n", 1)[1]  # but for the comment in the first line
    assert unescaped.count("$") % 2 == 0


@every_name
def test_csv_has_a_line_for_each_point_and_no_formula(name: str) -> None:
    text = as_csv(hostile_frontier(name))
    assert not ACTING.search(text)
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == len(text.splitlines()) == 1 + 5
    assert not [each for row in rows for each in row if re.match(r"[=+@\t\r]|-(?![\d.])", each)]


def test_a_formula_is_escaped_and_read_back_and_a_number_is_neither() -> None:
    texts = ["=1+1", "+a", "-b", "@c", "'=d", "''-e", "＝f", "'quoted'", "plain", "-0.5", "1e-3", "+5", ""]
    frame = pd.DataFrame({"=title": texts, "n": [-0.5 - i for i in range(len(texts))]})
    read = pd.read_csv(io.StringIO(csv_text(frame)), keep_default_na=False, dtype={"'=title": str})
    assert [original(each) for each in read["'=title"]] == texts
    assert list(read["n"]) == list(frame["n"])
    assert [cell(each) for each in texts[:4]] == ["'=1+1", "'+a", "'-b", "'@c"]
    assert [cell(each) for each in texts[7:]] == texts[7:]
    assert list(frame["=title"]) == texts


def test_the_frames_of_a_sweep_have_the_names_themselves() -> None:
    frontier = hostile_frontier(HOSTILE["formula"])
    assert list(points_frame(frontier)["id"]) == [point.id for point in frontier.points]
    assert list(SweepResult(frontier).points_frame()["id"]) == [point.id for point in frontier.points]


@every_name
@pytest.mark.parametrize("width", [60, 200])
def test_no_escape_sequence_or_markup_of_a_name_reaches_the_terminal(name: str, width: int) -> None:
    frontier = hostile_frontier(name)
    console = SafeConsole(width=width, file=io.StringIO(), color_system=None)
    with ConsoleProgress(console, out_path=f"/tmp/{name}", verbose=True) as progress:
        progress.started(frontier, 5)
        for point in frontier.points:
            progress.point_finished(point, frontier)
        progress.finished(frontier)
    text = console.file.getvalue()
    text.encode()
    assert not ACTING.search(text)


def test_a_console_keeps_its_own_colours_and_no_one_elses() -> None:
    console = SafeConsole(file=io.StringIO(), force_terminal=True, color_system="standard", width=80)
    console.print(Text("\x1b[31m[bold]a", style="green"))
    assert console.file.getvalue() == "\x1b[32m\\x1b[31m[bold]a\x1b[0m\n"


ALL_BUT_LONG = "".join(name for kind, name in HOSTILE.items() if not kind.startswith("long"))


@pytest.mark.parametrize(
    ("draw", "name"),
    [(frontier_figure, HOSTILE["long"]), (axis_figure, ALL_BUT_LONG), (reliability_figure, ALL_BUT_LONG)],
    ids=["frontier", "axis", "reliability"],
)
def test_pictures_show_names_as_they_are(draw: Callable, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vector = render(draw(hostile_frontier(name)), "svg")
    root = ElementTree.fromstring(vector)
    assert float(root.attrib["width"].removesuffix("pt")) < 1500
    assert float(root.attrib["height"].removesuffix("pt")) < 3000


def test_notebooks_show_names_as_text() -> None:
    text = SweepResult(hostile_frontier(ALL_BUT_LONG))._repr_html_()
    assert not ACTING.search(text)
    assert not re.search(r"<(script|img src=x|/title|/style)", text)
