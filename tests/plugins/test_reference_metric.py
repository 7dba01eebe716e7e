"""A third party's metric that compares with a parent: an objective names the parent, and the result has its numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mergekit_calib.items.store import ItemStore
from mergekit_calib.recipe import dump_recipe
from mergekit_calib.results.frontier import Frontier

PLUGIN = """
import numpy as np

from mergekit_calib import hookimpl
from mergekit_calib.items.metric_registry import metric
from mergekit_calib.metrics import mean_statistic


def answers(table):
    return np.nan_to_num(table.probabilities).argmax(axis=1)  # NaN where an item has fewer choices than others


@metric("answers_changed", direction="minimize", meaning="share of other answers", needs_reference=True)
def answers_changed(table, context):
    return mean_statistic(answers(table) != answers(context.reference))


@hookimpl
def calib_metrics():
    return [answers_changed]
"""
RUN = """
import sys
from mergekit.options import MergeOptions
from mergekit_calib.integrations.recipe_runner import run_source
sys.exit(run_source(open(sys.argv[1]).read(), sys.argv[2], MergeOptions(quiet=True), sys.argv[1]))
"""


@pytest.fixture
def run(make_model, task, tmp_path):
    """Return a function that runs a sweep with these objectives in a process that has the plugin installed."""
    site, info = tmp_path / "site", tmp_path / "site" / "calib_changed-0.1.dist-info"
    info.mkdir(parents=True)
    (site / "calib_changed.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: calib-changed\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[mergekit_calib]\ncalib_changed = calib_changed\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}

    def go(objectives: list) -> tuple[subprocess.CompletedProcess[str], Path]:
        recipe = {
            "merge_method": "calibration_sweep",
            "base_model": str(make_model(seed=0)),
            "models": [{"model": str(make_model(seed=1))}],
            "calibration": {
                "axes": {"lambda": [0.0, 0.5, 1.0]},
                "suite": [task],
                "objectives": objectives,
                "n_resamples": 100,
            },
        }
        (tmp_path / "sweep.yml").write_text(dump_recipe(recipe))
        command = [sys.executable, "-c", RUN, tmp_path / "sweep.yml", tmp_path / "out"]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return ran, tmp_path / "out"

    return go


def test_it_is_an_objective_computed_from_the_scores_of_both_models(run):
    ran, out = run(["acc", {"metric": "answers_changed", "to": "aligned"}])
    assert ran.returncode == 0, ran.stderr
    frontier = Frontier.load(out)
    (_, objective) = frontier.objectives
    assert objective.name == "answers_changed_to_aligned"
    store = ItemStore(out / "calibration" / "items")
    tables = {facts["id"]: store.load(key).tables for key, facts in store.described()}
    (aligned,) = next(iter(tables["lambda=1"].values()))
    for point in frontier.points:
        (mine,) = next(iter(tables[point.id].values()))
        changed = np.nanargmax(mine.log_likelihoods, axis=1) != np.nanargmax(aligned.log_likelihoods, axis=1)
        assert point.estimate(objective).value == pytest.approx(changed[mine.rows("held_out")].mean())
    assert frontier.parent("aligned").estimate(objective).value == 0.0


def test_without_the_parents_name_the_mistake_is_found_before_the_run(run):
    ran, _ = run(["acc", "answers_changed"])
    assert "answers_changed compares with a parent: add `to:` with one of base, aligned" in ran.stderr
