"""A whole sweep: the files that it writes, how it resumes, and how it reports mistakes and failures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
import yaml
from mergekit.merge import run_merge
from mergekit.options import MergeOptions

from mergekit_calib import Frontier
from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import ItemStore
from mergekit_calib.merging.merge_configuration import configuration
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.models import PointModels
from mergekit_calib.merging.weights_digest import digest_of
from mergekit_calib.recipe import dump_recipe, parse_sweep
from mergekit_calib.results.events import Progress
from mergekit_calib.sweep.coordinator import run_sweep


@pytest.fixture
def recipe(make_model: Callable[..., Path], task: str) -> dict[str, Any]:
    return {
        "merge_method": "calibration_sweep",
        "base_model": str(make_model(seed=0)),
        "models": [{"model": str(make_model(seed=1, chat_template="{{ messages[0].content }}"))}],
        "dtype": "bfloat16",
        "calibration": {
            "axes": {"lambda": [0.0, 0.25, 0.5, 1.0, 1.5]},
            "suite": [task],
            "model_args": {"dtype": "float32"},
            "n_resamples": 200,
        },
    }


class Recorder(Progress):
    """Collects the ids of the points that were scored by running a model."""

    def __init__(self) -> None:
        self.scored: set[str] = set()

    def point_started(self, point_id: str) -> None:
        self._point = point_id

    def scoring(self, entry: str, done: int, total: int) -> None:
        self.scored.add(self._point)


def sweep(recipe: dict[str, Any], out: Path, progress: Progress | None = None) -> Frontier:
    register()
    parsed = parse_sweep(dump_recipe(recipe), registered_signatures(), "sweep.yml")
    return run_sweep(parsed, out, MergeOptions(quiet=True), progress)


def test_a_sweep_writes_the_model_its_recipe_and_every_number(recipe, tmp_path):
    out = tmp_path / "out"
    frontier = sweep(recipe, out)
    assert [p.id for p in frontier.points] == ["lambda=0", "lambda=1", "lambda=0.25", "lambda=0.5", "lambda=1.5"]
    assert [p.role for p in frontier.points[:2]] == ["base", "aligned"]
    written = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    assert written >= {
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "mergekit_config.yml",
        "README.md",
        "calibration/sweep.yml",
        "calibration/frontier.json",
        "calibration/points.csv",
        "calibration/frontier.png",
        "calibration/report.html",
    }
    assert len(list((out / "calibration" / "items").glob("*.parquet"))) == 5
    assert not (out / "calibration" / "scratch").exists()

    loaded = Frontier.load(out)
    assert loaded.finished
    assert loaded == frontier
    assert sum(p.selected for p in loaded.points) == 1
    assert transformers.AutoTokenizer.from_pretrained(out).chat_template == "{{ messages[0].content }}"
    transformers.AutoModelForCausalLM.from_pretrained(out)


def test_the_plain_recipe_rebuilds_the_chosen_model_without_the_plugin(recipe, tmp_path):
    frontier = sweep(recipe, tmp_path / "out")
    plain = yaml.safe_load((tmp_path / "out" / "mergekit_config.yml").read_text())
    assert "calibration" not in plain
    run_merge(configuration(plain), str(tmp_path / "again"), MergeOptions(quiet=True, random_seed=frontier.seed))
    assert digest_of(tmp_path / "again") == digest_of(tmp_path / "out") == frontier.selected.digest


def test_the_numbers_are_those_of_the_item_scores_on_disk(recipe, tmp_path):
    frontier = sweep(recipe, tmp_path / "out")
    record = yaml.safe_load((tmp_path / "out" / "calibration" / "sweep.yml").read_text())
    store = ItemStore(tmp_path / "out" / "calibration" / "items")
    for point in frontier.points:
        (table,) = store.load(record["points"][point.id]).tables[frontier.suite[0].name]
        correct = table.labels[np.arange(len(table)), np.nanargmax(table.log_likelihoods, axis=1)]
        for split in ("all", "selection", "held_out"):
            estimate = point.metrics["suite"]["acc"][split]
            assert estimate.n == table.rows(split).sum()
            assert estimate.value == pytest.approx(correct[table.rows(split)].mean())


def test_a_finished_sweep_scores_nothing_again(recipe, tmp_path):
    first = sweep(recipe, tmp_path / "out")
    recorder = Recorder()
    second = sweep(recipe, tmp_path / "out", recorder)
    assert not recorder.scored
    assert [p.metrics for p in second.points] == [p.metrics for p in first.points]


def test_a_wider_axis_scores_only_the_new_points(recipe, tmp_path):
    sweep(recipe, tmp_path / "out")
    recipe["calibration"]["axes"]["lambda"].append(2.0)
    recorder = Recorder()
    frontier = sweep(recipe, tmp_path / "out", recorder)
    assert recorder.scored == {"lambda=2"}
    assert frontier.points[-1].id == "lambda=2"


def test_a_changed_task_is_scored_again(recipe, tmp_path):
    sweep(recipe, tmp_path / "out")
    recipe["calibration"]["limit"] = 30
    recorder = Recorder()
    sweep(recipe, tmp_path / "out", recorder)
    assert len(recorder.scored) == 5


def test_a_run_killed_at_any_moment_goes_on_where_it_stopped(recipe, tmp_path):
    (tmp_path / "sweep.yml").write_text(dump_recipe(recipe))
    items = tmp_path / "out" / "calibration" / "items"
    command = [Path(sys.executable).with_name("mergekit-yaml"), tmp_path / "sweep.yml", tmp_path / "out"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while len(list(items.glob("*.parquet"))) < 2 and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    kept = {p.name: p.stat().st_mtime_ns for p in items.glob("*.parquet")}
    assert len(kept) >= 2
    recorder = Recorder()
    frontier = sweep(recipe, tmp_path / "out", recorder)
    assert len(recorder.scored) == 5 - len(kept)
    assert {name: (items / name).stat().st_mtime_ns for name in kept} == kept
    assert frontier.finished


def test_points_with_equal_weights_are_scored_once_and_noted(make_model, task, tmp_path):
    recipe = {
        "merge_method": "ties",
        "base_model": str(make_model(seed=0)),
        "models": [{"model": str(make_model(seed=1)), "parameters": {"weight": "${lambda}"}}],
        "calibration": {"axes": {"lambda": [0.25, 0.5, 1.0]}, "suite": [task], "n_resamples": 200},
    }
    recorder = Recorder()
    frontier = sweep(recipe, tmp_path / "out", recorder)
    assert [p.same_as for p in frontier.points] == [None, None, None, "lambda=0.25", "lambda=0.25"]
    assert len(recorder.scored) == 3
    assert "changes nothing" in frontier.notes[0]


def test_a_point_that_fails_is_recorded_and_the_others_go_on(make_model, task, tmp_path):
    recipe = {
        "merge_method": "task_arithmetic",
        "base_model": str(make_model(seed=0)),
        "models": [{"model": str(make_model(seed=1)), "parameters": {"weight": "${scale}"}}],
        "calibration": {"axes": {"scale": [0.5, 1e39, 1.0]}, "suite": [task], "n_resamples": 200},
    }
    frontier = sweep(recipe, tmp_path / "out")
    failed = frontier.point("scale=1e+39")
    assert failed.status == "failed"
    assert "holds NaN or infinity" in failed.reason
    assert [p.status for p in frontier.points].count("complete") == 4
    assert frontier.selected.id != failed.id


def test_out_of_memory_at_a_point_is_recorded_and_the_others_go_on(recipe, tmp_path, monkeypatch):
    from mergekit_calib.merging.live_model import LiveModel

    set_weights, calls = LiveModel.set, []

    def scarce(self, tensors):
        calls.append(self)
        if len(calls) == 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return set_weights(self, tensors)

    monkeypatch.setattr(LiveModel, "set", scarce)
    frontier = sweep(recipe, tmp_path / "out")
    (failed,) = [p for p in frontier.points if p.status == "failed"]
    assert "out of memory" in failed.reason
    monkeypatch.undo()
    assert all(p.status == "complete" for p in sweep(recipe, tmp_path / "out").points)


def test_the_written_model_must_be_the_scored_one(recipe, tmp_path, monkeypatch):
    write = PointModels.write
    monkeypatch.setattr(PointModels, "write", lambda self, point, folder, digest: write(self, point, folder, "0" * 32))
    with pytest.raises(CalibError, match=r"not the ones that were scored"):
        sweep(recipe, tmp_path / "out")
    assert not (tmp_path / "out" / "model.safetensors").exists()


def change(recipe: dict[str, Any], **calibration: Any) -> dict[str, Any]:
    return {**recipe, "calibration": {**recipe["calibration"], **calibration}}


@pytest.mark.parametrize(
    ("calibration", "says"),
    [
        ({"suite": ["arc_esy"]}, r"no task, group or tag 'arc_esy' \(did you mean 'arc_easy'"),
        ({"objectives": ["acc", "ec"]}, r"sweep.yml: calibration.objectives\[1\]: .*'ec' \(did you mean 'ece'"),
        ({"objectives": [{"task": "x", "metric": "acc"}]}, r"objectives\[0\]: 'x' is not in the suite"),
        ({"select": {"rule": "kne"}}, r"calibration.select.rule: no rule 'kne' \(did you mean 'knee'"),
        ({"select": {"rule": "max", "objective": "brier"}}, r"calibration.select: .*'brier' is not an objective"),
        ({"model_args": {"dtpe": "float32"}}, r"model_args.dtpe .*did you mean 'dtype'"),
    ],
)
def test_mistakes_are_found_before_a_model_is_loaded(recipe, tmp_path, monkeypatch, calibration, says):
    monkeypatch.setattr(PointModels, "at", lambda *_: pytest.fail("a model was asked for"))
    with pytest.raises(CalibError, match=says):
        sweep(change(recipe, **calibration), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_else_is_left_alone(recipe, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CalibError, match=r"holds something else \(thesis.tex\)"):
        sweep(recipe, tmp_path)


def test_a_folder_of_other_parents_is_left_alone(recipe, make_model, tmp_path):
    sweep(recipe, tmp_path / "out")
    with pytest.raises(CalibError, match=r"holds a sweep of .* and this one is of"):
        sweep({**recipe, "base_model": str(make_model(seed=2))}, tmp_path / "out")


def test_another_sweep_in_a_folder_where_one_runs_is_refused(recipe, tmp_path):
    from mergekit_calib.sweep.folder import RunFolder

    with RunFolder(tmp_path / "out").joined("some other study"), pytest.raises(CalibError, match=r"another sweep in"):
        sweep(recipe, tmp_path / "out")


def test_the_exit_status_is_3_if_points_failed(make_model, task, tmp_path):
    from mergekit_calib.integrations.recipe_runner import run_source

    recipe = {
        "merge_method": "task_arithmetic",
        "base_model": str(make_model(seed=0)),
        "models": [{"model": str(make_model(seed=1)), "parameters": {"weight": "${scale}"}}],
        "calibration": {"axes": {"scale": [0.5, 1e39]}, "suite": [task], "n_resamples": 200},
    }
    assert run_source(dump_recipe(recipe), str(tmp_path / "some"), MergeOptions(quiet=True)) == 3
    recipe["calibration"]["axes"]["scale"] = [0.5]
    assert run_source(dump_recipe(recipe), str(tmp_path / "none"), MergeOptions(quiet=True)) == 0


def test_the_exit_status_is_4_if_the_rule_gave_way_even_if_points_failed(make_model, task, tmp_path, capsys):
    from mergekit_calib.integrations.recipe_runner import explain, run_source

    recipe = {
        "merge_method": "task_arithmetic",
        "base_model": str(make_model(seed=0)),
        "models": [{"model": str(make_model(seed=1)), "parameters": {"weight": "${scale}"}}],
        "calibration": {
            "axes": {"scale": [0.5, 1e39]},
            "suite": [task],
            "n_resamples": 200,
            "select": {"rule": "max", "objective": "acc", "bounds": {"acc": {"min": 2}}},
        },
    }
    status = run_source(dump_recipe(recipe), str(tmp_path / "out"), MergeOptions(quiet=True))
    assert status == 4
    said = explain(status, tmp_path / "out")
    assert "not by the rule max: none of 3 points has acc at least 2 (the nearest acc is" in said
    assert said in " ".join(capsys.readouterr().out.split())
    selection = Frontier.load(tmp_path / "out").selection
    assert (selection.rule, selection.gave_way[:7]) == ("max", "none of")


def test_run_merge_called_with_the_text_of_a_recipe_runs_the_sweep(recipe, tmp_path):
    from mergekit import merge

    from mergekit_calib.integrations.mergekit import wrap_run_merge

    if not hasattr(merge.run_merge, "__wrapped__"):
        wrap_run_merge(merge)
    text = dump_recipe(recipe)
    config = configuration({k: v for k, v in recipe.items() if k != "calibration"})
    merge.run_merge(config, str(tmp_path / "out"), MergeOptions(quiet=True), config_source=text)
    assert Frontier.load(tmp_path / "out").finished
