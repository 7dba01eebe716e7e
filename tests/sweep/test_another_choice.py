"""`mergekit-calib write` on a finished sweep of the demo pair: another point, another rule, and back."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from mergekit_calib.cli import main
from mergekit_calib.results.frontier import Frontier


def command(*arguments: str, cwd: Path, fails: bool = False) -> str:
    """Run `mergekit-calib` in this process, which is quicker, and return what it printed."""
    with _changed_to(cwd):
        done = CliRunner(env={"COLUMNS": "200"}).invoke(main, arguments)
    assert (done.exit_code != 0) is fails, done.output
    return " ".join(done.output.split())


@contextlib.contextmanager
def _changed_to(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def scored(out: Path) -> dict[str, int]:
    """Return name → time of change, of the files of item scores."""
    return {path.name: path.stat().st_mtime_ns for path in (out / "calibration" / "items").glob("*.parquet")}


def files_of(out: Path) -> dict[Path, int]:
    """Return file → time of change, without the log and what workers lock."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "run.log"]
    return {path: path.stat().st_mtime_ns for path in files if ".workers" not in path.parts}


def choice(out: Path) -> str:
    selection = Frontier.load(out).selection
    assert selection is not None
    return selection.point


def recipe_in(folder: Path) -> dict:
    return yaml.safe_load((folder / "mergekit_config.yml").read_text())


def weight_of_aligned(folder: Path) -> float:
    return recipe_in(folder)["models"][1]["parameters"]["weight"]


def test_a_named_point_replaces_the_model_and_is_kept_until_it_is_undone(demo_copy):
    out, top = demo_copy, demo_copy.parent
    before, items, model = Frontier.load(out), scored(out), weights(out)
    by_rule = choice(out)
    assert by_rule != "lambda=0.75"

    printed = command("write", "out", "--point", "λ=0.75", cwd=top)
    assert f"named by hand after the sweep; the rule one_se chooses {before.point(by_rule).name}" in printed
    assert weight_of_aligned(out) == 0.75
    assert weights(out) != model
    assert scored(out) == items
    after = Frontier.load(out)
    assert [p.selected for p in after.points] == [p.id == "lambda=0.75" for p in after.points]
    assert {p.id: p.metrics for p in after.points} == {p.id: p.metrics for p in before.points}
    assert after.cross_fitted is None  # the point was not chosen by a rule that the splits can repeat
    card = (out / "README.md").read_text()
    assert "named by hand after the sweep" in card
    assert "0.75" in card

    again = command("sweep", "sweep.yml", "out", cwd=top)
    assert "The choice of λ = 0.75, made with `mergekit-calib write`, is kept" in again
    assert scored(out) == items
    assert choice(out) == "lambda=0.75"
    assert Frontier.load(out).model_dump(exclude={"created", "points"}) == after.model_dump(
        exclude={"created", "points"}
    )
    command("report", "out", cwd=top)
    assert "named by hand after the sweep" in (out / "README.md").read_text()

    undone = command("write", "out", "--rule", "recipe", cwd=top)
    assert "by hand" not in undone
    assert weights(out) == model
    assert not (out / "calibration" / "decision.yml").exists()
    restored = Frontier.load(out)
    assert restored.model_dump(exclude={"points", "created"}) == before.model_dump(exclude={"points", "created"})


def test_a_point_that_was_not_scored_is_scored_first_with_the_same_items(demo_copy):
    out, top = demo_copy, demo_copy.parent
    items = scored(out)
    command("write", "out", "--point", "lambda = 0.6", "--to", "other", cwd=top)
    new = scored(out).keys() - items.keys()
    assert [re.sub(r"-[0-9a-f]{16}\.parquet", "", name) for name in new] == ["lambda=0.6"]
    assert {name: time for name, time in scored(out).items() if name in items} == items
    assert weight_of_aligned(top / "other") == pytest.approx(0.6)
    assert choice(out) != "lambda=0.6"
    assert {p.id for p in Frontier.load(out).points}.isdisjoint({"lambda=0.6"})
    asked = Frontier.load(top / "other").point("lambda=0.6")
    assert asked.asked
    assert asked.selected
    assert asked.metrics["suite"]["acc"]["all"].n == 600

    with_it = scored(out)
    command("write", "out", "--point", "λ=0.6", cwd=top)
    assert scored(out) == with_it
    assert choice(out) == "lambda=0.6"
    again = command("sweep", "sweep.yml", "out", cwd=top)
    assert "The choice of λ = 0.6, made" in again
    assert scored(out) == with_it
    assert Frontier.load(out).point("lambda=0.6").asked
    command("write", "out", "--rule", "recipe", cwd=top)
    assert {p.id for p in Frontier.load(out).points}.isdisjoint({"lambda=0.6"})


def test_another_rule_chooses_from_the_stored_items(demo_copy):
    out, top = demo_copy, demo_copy.parent
    items = scored(out)
    rule = "{rule: max, objective: acc, bounds: {ece: {max: 0.03}}}"
    printed = command("write", "out", "--rule", rule, "--to", "bounded", cwd=top)
    assert "The rule max was asked for after the sweep" in printed
    frontier = Frontier.load(top / "bounded")
    assert frontier.selection is not None
    assert frontier.selection.rule == "max"
    within = [p for p in frontier.points if p.metrics["suite"]["ece"]["all"].value <= 0.03]
    best = max(within, key=lambda p: p.metrics["suite"]["acc"]["all"].value)
    assert frontier.selection.point == best.id
    assert scored(out) == items
    command("write", "out", "--rule", "least", cwd=top)
    assert Frontier.load(out).selection.rule == "least"
    assert yaml.safe_load((out / "calibration" / "decision.yml").read_text()) == {"select": {"rule": "least"}}


def test_a_parent_can_be_written_from_another_directory(demo_copy, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    arguments = ["write", str(demo_copy), "--point", "aligned", "--to", "aligned"]
    command = [sys.executable, "-m", "mergekit_calib", *arguments]
    subprocess.run(command, cwd=elsewhere, check=True, timeout=300)
    assert recipe_in(elsewhere / "aligned")["merge_method"] == "passthrough"
    assert choice(elsewhere / "aligned") == "lambda=1"
    assert "No merge beat" not in (elsewhere / "aligned" / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--point", "λ=1.7"], "λ = 1.7 is outside of the sweep, whose λ goes from 0 to 1.5"),
        (["--point", "mu=0.3"], "'mu=0.3' is no point of this sweep"),
        (["--point", "λ=much"], "λ = 'much' is not a number"),
        (["--point", "alined"], "did you mean 'aligned'"),
        (["--rule", "{rule: mx}"], "no rule 'mx'"),
        (["--rule", "[1"], "is no YAML"),
        (["--rule", "{rule: max, objective: speed}"], "speed"),
        (["--point", "λ=0.5", "--rule", "least"], "give either --point or --rule"),
        ([], "give either --point or --rule"),
        (["--point", "λ=0.5", "--to", "out"], "leave out --to"),
        (["--point", "λ=0.5", "--to", "full"], "full holds something else"),
    ],
)
def test_what_cannot_be_written_is_one_error_and_changes_nothing(demo_copy, arguments, message):
    top = demo_copy.parent
    (top / "full").mkdir()
    (top / "full" / "notes.txt").write_text("mine")
    before = files_of(demo_copy)
    assert message in command("write", "out", *arguments, cwd=top, fails=True)
    assert files_of(demo_copy) == before
    assert not (demo_copy / "calibration" / "decision.yml").exists()


def test_parents_that_have_changed_cannot_be_written(demo_copy, tmp_path):
    record = demo_copy / "calibration" / "sweep.yml"
    content = yaml.safe_load(record.read_text())
    for model in content["models"].values():
        model["fingerprint"] = "0" * 16
    content["points"] = {point: "f" * 16 if point == "lambda=0" else key for point, key in content["points"].items()}
    record.write_text(yaml.safe_dump(content))
    text = command("write", "out", "--point", "λ=0.6", cwd=tmp_path, fails=True)
    assert "could not be compared" in text
    assert "the files of" in text


def test_a_decision_that_cannot_be_read_stops_a_sweep_with_its_name(demo_copy, tmp_path):
    (demo_copy / "calibration" / "decision.yml").write_text("point: [")
    text = command("sweep", "sweep.yml", "out", cwd=tmp_path, fails=True)
    assert "decision.yml cannot be read" in text
    (demo_copy / "calibration" / "decision.yml").write_text("point: mu=3\naxes: {mu: 3}\n")
    text = command("sweep", "sweep.yml", "out", cwd=tmp_path, fails=True)
    assert "which is no point of this sweep's axes (lambda)" in text
    assert json.loads((demo_copy / "calibration" / "frontier.json").read_text())["finished"]
