"""A task that a recipe names by the path of its file has the task's name in everything that a sweep writes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mergekit.options import MergeOptions

from helpers.item_files_of_0_1 import as_of_version_0_1
from mergekit_calib import SweepResult
from mergekit_calib.errors import RecipeError
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.recipe import dump_recipe, parse_sweep
from mergekit_calib.sweep.preflight import prepare

# These hold the recipe as it was given, and everything that content keys are made of.
RECIPES = {"sweep.yml", "study.log"}
SUFFIXES = {".json", ".csv", ".html", ".md", ".yml", ".log"}


def by_path(task: str) -> dict[str, object]:
    return {
        "objectives": [{"metric": "acc", "task": task}, {"metric": "ece", "task": "made_up"}],
        "select": {"rule": "max", "objective": "made_up/acc", "bounds": {f"{task}/ece": {"max": 1.0}}},
    }


def prepared(recipe, out):
    register()
    return prepare(parse_sweep(dump_recipe(recipe), registered_signatures(), "sweep.yml"), out, MergeOptions())


def test_no_path_of_a_task_is_in_anything_that_people_read(recipe_with, run, tmp_path, task, capsys):
    out = tmp_path / "out"
    frontier, _ = run(recipe_with({"lambda": [0.5]}, **by_path(task)), out)
    assert [o.name for o in frontier.objectives] == ["made_up/acc", "made_up/ece"]
    assert [entry.name for entry in frontier.suite] == ["made_up"]
    for point in frontier.points:
        assert set(point.metrics) == {"made_up", "suite"}
    texts = [
        p for p in out.rglob("*") if p.suffix in (".json", ".csv", ".html", ".md", ".yml") and p.name not in RECIPES
    ]
    assert {"README.md", "report.html", "frontier.json", "points.csv"} <= {p.name for p in texts}
    for path in texts:
        assert str(Path(task).parent) not in path.read_text(encoding="utf-8"), path.name


def test_scores_under_the_path_of_an_earlier_version_are_found_and_renamed(recipe_with, run, tmp_path, task):
    out, recipe = tmp_path / "out", recipe_with({"lambda": [0.5]})
    first, _ = run(recipe, out)
    stored = sorted((out / "calibration" / "items").glob("*.parquet"))
    assert len(stored) == 3
    for path in stored:
        table = pq.read_table(path)
        assert set(table["entry"].to_pylist()) == {"made_up"}
        pq.write_table(as_of_version_0_1(table.set_column(0, "entry", pa.array([task] * len(table)))), path)
    (out / "calibration" / "frontier.json").unlink()

    again, scored = run(recipe, out)

    assert scored == {}
    assert [p.metrics for p in again.points] == [p.metrics for p in first.points]
    assert set(SweepResult.load(out).items_frame().entry) == {"made_up"}


def test_content_keys_hold_the_path_and_objectives_by_path_or_by_name_make_one_study(recipe_with, tmp_path, task):
    named = {"objectives": [{"metric": "acc", "task": "made_up"}, {"metric": "ece", "task": "made_up"}]}
    by_either = [prepared(recipe_with({"lambda": [0.5]}, **b), tmp_path / "out") for b in (by_path(task), named)]
    assert by_either[0].study_name == by_either[1].study_name
    assert by_either[0].facts_of(by_either[0].parents[0])["suite"][0]["entry"]["task"] == task
    assert by_either[0].rule_options == {"objective": "made_up/acc", "bounds": {"made_up/ece": {"max": 1.0}}}


def test_weights_of_an_average_may_name_a_path(recipe_with, tmp_path, task):
    macro = {"metric": "ece", "average": "macro", "weights": {task: 2.0}}
    (objective,) = prepared(recipe_with({"lambda": [0.5]}, objectives=[macro]), tmp_path / "out").objectives
    assert objective.weights == {"made_up": 2.0}


def test_one_objective_by_path_and_by_name_is_refused(recipe_with, tmp_path, task):
    twice = [{"metric": "ece", "task": task}, {"metric": "ece", "task": "made_up"}]
    with pytest.raises(RecipeError, match=r"objectives\[1\]: objectives have 'made_up/ece' twice"):
        prepared(recipe_with({"lambda": [0.5]}, objectives=twice), tmp_path / "out")
