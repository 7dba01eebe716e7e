"""Calibration cards: the same numbers from a model and from lm-eval's samples, side by side, on disk and printed."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import lm_eval
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from rich.console import Console

import mergekit_calib
from helpers.item_files_of_0_1 import as_of_version_0_1
from mergekit_calib.cards.calibration_card import ModelScores, Scores
from mergekit_calib.cards.card_maker import CardMaker
from mergekit_calib.cards.from_models import score_models
from mergekit_calib.cards.from_samples import read_samples
from mergekit_calib.cards.rendering import markdown, print_card
from mergekit_calib.cli import main
from mergekit_calib.errors import CalibError
from mergekit_calib.items.table import ItemTable
from mergekit_calib.recipe import SuiteEntry
from mergekit_calib.results.findings import Difference, Estimate

DEMO = Path(mergekit_calib.__file__).parent / "demo"
PAIR = [str(DEMO / "base"), str(DEMO / "aligned")]
SUITE = [SuiteEntry(task="calib_demo", limit=60)]


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> tuple[Scores, Path]:
    out = tmp_path_factory.mktemp("scores")
    return score_models(PAIR, SUITE, out=out, n_resamples=200), out


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Path:
    """A finished `lm_eval --log_samples` run of the demo's aligned parent."""
    out = tmp_path_factory.mktemp("samples")
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={PAIR[1]}"]
    command += ["--tasks", "calib_demo", "--limit", "60", "--device", "cpu", "--log_samples", "--output_path", str(out)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return out


def card_of(*paths: Path) -> Scores:
    models = read_samples(paths)
    maker = CardMaker(models[0].higher_is_better, n_resamples=200)
    for model in models:
        maker.add(model.name, model.tables)
    return maker.card


@pytest.mark.parametrize("n", [1, 2, 3, 8])
@pytest.mark.parametrize("width", [50, 80, 160])
def test_no_number_is_cut_in_a_card_of_one_to_eight_models(n: int, width: int) -> None:
    def scores(i: int) -> ModelScores:
        estimate = Estimate(value=0.7 + i / 100, low=0.68 + i / 100, high=0.72 + i / 100, n=500)
        change = Difference(value=i / 100, low=0.005, high=0.1, n=500)
        return ModelScores(
            name=f"org/model-{i}",
            metrics={"calib_demo": {"acc": estimate}},
            differences={"calib_demo": {"acc": change}} if i else {},
        )

    directions = {"calib_demo": {"acc": "maximize"}}
    options = {"level": 0.95, "n_resamples": 100, "n_bins": 15, "seed": 0}
    card = Scores(created="", models=[scores(i) for i in range(n)], directions=directions, **options)
    console = Console(width=width, file=io.StringIO())
    print_card(card, console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for i in range(n):
        change = f" (+{i / 100:.3f}*)" if i else ""
        whole = f"{0.7 + i / 100:.3f} [{0.68 + i / 100:.3f}, {0.72 + i / 100:.3f}]{change}"
        assert sum(whole in line for line in lines) == 1


def test_samples_of_a_run_give_the_card_of_the_model(scored, samples):
    of_model, of_samples = scored[0].models[1], card_of(samples).models[0]
    assert of_samples.name == PAIR[1]
    assert of_samples.metrics["calib_demo"].keys() == of_model.metrics["calib_demo"].keys()
    for metric, estimate in of_model.metrics["calib_demo"].items():
        theirs = of_samples.metrics["calib_demo"][metric]
        actual, expected = (theirs.value, theirs.low, theirs.high), (estimate.value, estimate.low, estimate.high)
        # lm-eval's `hf` takes the log-softmax in bfloat16.
        assert actual == pytest.approx(expected, abs=0.02), metric
    results = json.loads(next(samples.rglob("results_*.json")).read_text())["results"]["calib_demo"]
    assert of_samples.metrics["calib_demo"]["ece"].value == pytest.approx(results["ece,none"], abs=1e-9)
    assert of_samples.metrics["calib_demo"]["acc"].value == results["acc,none"]


def test_a_later_model_has_paired_differences_to_the_first(scored):
    base, aligned = scored[0].models
    assert not base.differences
    difference = aligned.differences["calib_demo"]["ece"]
    values = [m.metrics["calib_demo"]["ece"].value for m in (aligned, base)]
    assert difference.value == pytest.approx(values[0] - values[1])
    assert difference.low < difference.value < difference.high


def test_models_whose_scores_are_on_disk_are_not_scored_again(scored):
    card, out = scored
    assert Scores.load(out) == card
    assert len(list((out / "items").glob("*.parquet"))) == 2
    asked = []
    again = score_models(PAIR, SUITE, out=out, n_resamples=200, on_answers=lambda *counts: asked.append(counts))
    assert not asked
    assert [m.metrics for m in again.models] == [m.metrics for m in card.models]
    frame = card.frame()
    row = frame[(frame.model == PAIR[1]) & (frame.scope == "calib_demo") & (frame.metric == "brier")].iloc[0]
    assert (row.value, row.n) == (card.models[1].metrics["calib_demo"]["brier"].value, 60)


def test_a_model_with_a_changed_chat_template_is_scored_again(tmp_path):
    model, asked = shutil.copytree(PAIR[0], tmp_path / "model"), []

    def score() -> None:
        asked.clear()
        suite = [SuiteEntry(task="calib_demo", limit=4)]
        options = {"model_args": {"dtype": "float32"}, "n_resamples": 10, "on_answers": lambda *t: asked.append(t)}
        score_models([str(model)], suite, out=tmp_path / "out", **options)

    score()
    score()
    assert not asked
    (model / "chat_template.jinja").write_text("{{ messages[0].content }}")
    score()
    assert asked


def test_pooled_items_have_the_directions_of_their_tasks():
    def table(task: str, **values: float) -> ItemTable:
        scores, lengths = np.array([[-1.0, -2.0]] * 2), np.ones((2, 2), dtype=np.int64)
        own = {name: np.full(2, value) for name, value in values.items()}
        hashes = [f"{task}-{i}" for i in range(2)]
        return ItemTable(task, np.arange(2), hashes, scores, scores > -1.5, lengths, lengths, values=own)

    maker = CardMaker({"a": {"spread": False}, "b": {"spread": False, "hits": True}}, n_resamples=10)
    maker.add("model", {"a": [table("a", spread=1.0)], "b": [table("b", spread=2.0, hits=1.0)]})

    ways = {scope: directions.get("spread") for scope, directions in maker.card.directions.items()}
    assert ways == {"a": "minimize", "b": "minimize", "suite": "minimize"}
    assert "hits" not in maker.card.directions["suite"]


def test_models_scored_on_other_items_are_not_compared_in_pairs(samples, tmp_path):
    fewer = shutil.copytree(samples, tmp_path / "fewer")
    file = next(fewer.rglob("samples_*.jsonl"))
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:40]))
    card = card_of(samples, fewer)
    assert not card.models[1].differences
    assert "other items" in card.notes[0]


@pytest.mark.parametrize(
    ("models", "tasks", "message"),
    [
        (["./nowhere"], ["calib_demo"], "'./nowhere' does not exist"),
        (PAIR[:1], ["calib_dem"], r"tasks: .*'calib_dem' \(did you mean 'calib_demo'"),
        ([PAIR[0], PAIR[0]], ["calib_demo"], "is named twice"),
    ],
)
def test_mistakes_are_reported_before_anything_is_scored(models, tasks, message):
    with pytest.raises(CalibError, match=message):
        score_models(models, tasks)


def test_a_misspelt_model_argument_is_named():
    with pytest.raises(CalibError, match=r"model_args: dtyp is not an argument.*did you mean 'dtype'"):
        score_models(PAIR[:1], SUITE, model_args={"dtyp": "float32"})


@pytest.mark.parametrize(
    "wrong", [["--limit", "0"], ["--num-fewshot", "-1"], ["--n-bins", "0"], ["--repeats", "0"], ["--tasks", ","]]
)
def test_options_out_of_range_are_usage_errors(wrong):
    result = CliRunner().invoke(main, ["score", PAIR[0], "--tasks", "calib_demo", *wrong])
    assert (result.exit_code, wrong[0].lstrip("-").replace("-", "_") in result.output) == (2, True)


def test_the_command_prints_and_writes_the_card(samples, tmp_path):
    runner = CliRunner()
    result = runner.invoke(main, ["score", "--from", str(samples), "--out", str(tmp_path / "card")])
    assert result.exit_code == 0, result.output
    value = card_of(samples).models[0].metrics["calib_demo"]["ece"].value
    assert f"{value:.3f}" in result.output
    assert "░" in result.output
    assert "overconfidence" in result.output
    assert "overconfidence ↓" not in result.output  # it is best near 0
    assert {p.name for p in (tmp_path / "card").iterdir()} == {
        "scores.json",
        "scores.csv",
        "scores.md",
        "reliability-calib_demo.png",
    }
    nothing = runner.invoke(main, ["score", PAIR[0]])
    assert "--tasks" in nothing.output
    assert nothing.exit_code == 2


def test_samples_are_read_without_torch(samples):
    code = f"from mergekit_calib.cli import main; main(['score', '--from', {str(samples)!r}], standalone_mode=False)\n"
    code += "import sys; assert not {'torch', 'transformers', 'lm_eval'} & set(sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert ran.returncode == 0, ran.stderr


def test_names_are_escaped_in_markdown(scored):
    card = scored[0].model_copy(deep=True)
    card.models[0].name = "a|b <script>"
    assert "<script>" not in markdown(card)
    assert "| a&#124;b" in markdown(card)


def test_a_card_has_the_installed_version_of_lm_eval(scored):
    assert scored[0].versions["lm-eval"] == lm_eval.__version__


def test_diagrams_count_every_item(scored):
    for model in scored[0].models:
        assert np.sum(model.reliability["calib_demo"].counts) == 60


def test_items_are_pooled_over_tasks_only_where_several_have_choices(scored):
    one = scored[0]
    assert one.scopes == ["calib_demo"]
    two = one.model_copy(deep=True)
    two.directions = {"calib_demo": {}, "other": {}, "suite": {}}
    assert two.scopes == ["calib_demo", "other"]
    two.models[0].reliability["other"] = two.models[0].reliability["calib_demo"]
    assert two.scopes == ["calib_demo", "other", "suite"]


def test_a_local_task_has_its_own_name_on_the_card_and_scores_under_its_path_are_found(make_model, task, tmp_path):
    asked, out, options = [], tmp_path / "out", {"model_args": {"dtype": "float32"}, "n_resamples": 10}
    card = score_models([str(make_model())], [task], out=out, on_answers=lambda *t: asked.append(t), **options)
    assert (card.scopes, set(card.models[0].metrics)) == (["made_up"], {"made_up", "suite"})
    assert {entry for entry, _, _ in asked} == {"made_up"}
    assert str(Path(task).parent) not in (out / "scores.json").read_text() + (out / "scores.csv").read_text()
    (stored,) = (out / "items").glob("*.parquet")
    rows = pq.read_table(stored)
    pq.write_table(as_of_version_0_1(rows.set_column(0, "entry", pa.array([task] * len(rows)))), stored)
    asked.clear()
    again = score_models([str(make_model())], [task], out=out, on_answers=lambda *t: asked.append(t), **options)
    assert (asked, again.models[0].metrics) == ([], card.models[0].metrics)
