"""Mistakes in objectives are reported before any model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from mergekit.options import MergeOptions

from mergekit_calib import demo
from mergekit_calib.errors import RecipeError
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.recipe import dump_recipe, parse_sweep
from mergekit_calib.sweep.preflight import Prepared, prepare


def prepared(out: Path, **block: object) -> Prepared:
    recipe = yaml.safe_load(demo.sweep_yaml())
    recipe["calibration"] |= {"suite": [{"task": "calib_demo", "limit": 20}], **block}
    register()
    return prepare(parse_sweep(dump_recipe(recipe), registered_signatures(), "sweep.yml"), out, MergeOptions())


def test_an_average_becomes_an_objective_with_its_direction(tmp_path):
    macro = {"metric": "ece", "average": "macro", "weights": {"calib_demo": 1.0}}
    _, objective = prepared(
        tmp_path, objectives=["acc", macro], select={"rule": "max", "objective": "macro/ece"}
    ).objectives
    assert (objective.name, objective.direction, objective.weights) == ("macro/ece", "minimize", {"calib_demo": 1.0})


def test_weights_of_tasks_that_are_not_averaged_are_refused(tmp_path):
    macro = {"metric": "ece", "average": "macro", "weights": {"arc_easy": 1.0}}
    with pytest.raises(RecipeError, match=r"objectives\[1\].weights: found arc_easy; a weight for each of calib_demo"):
        prepared(tmp_path, objectives=["acc", macro])


def test_a_metric_that_compares_with_a_parent_becomes_an_objective_and_can_be_bounded(tmp_path):
    objectives = ["acc", {"metric": "kl", "to": "aligned"}, {"metric": "negative_flips", "to": "base"}]
    select = {"rule": "max", "objective": "acc", "bounds": {"kl_to_aligned": {"max": 0.1}}}
    _, kl, flips = prepared(tmp_path, objectives=objectives, select=select).objectives
    assert (kl.name, kl.to, kl.direction) == ("kl_to_aligned", "aligned", "minimize")
    assert flips.name == "negative_flips_to_base"


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("kl", r"objectives\[1\]: kl compares with a parent: add `to:` with one of base, aligned"),
        ({"metric": "kl", "to": "alinged"}, r"objectives\[1\].to: 'alinged' is no parent \(did you mean 'aligned'\?\)"),
        (
            {"metric": "ece", "to": "base"},
            r"\.to: ece compares with no parent: remove `to` \(it is for kl, negative_flips\)",
        ),
        ("kl_to_aligned", r"objectives\[1\]: 'kl_to_aligned' is written \{metric: kl, to: aligned\}"),
        ({"metric": "negative_flip", "to": "base"}, "has no metric 'negative_flip' .did you mean 'negative_flips'"),
    ],
)
def test_a_reference_that_is_missing_or_wrong_is_named(tmp_path, objective, message):
    with pytest.raises(RecipeError, match=message):
        prepared(tmp_path, objectives=["acc", objective])


def test_the_worst_task_needs_two_tasks_that_are_large_enough(tmp_path):
    worst = {"metric": "ece", "average": "worst"}
    with pytest.raises(RecipeError, match=r"objectives\[1\]: worst/ece is the worst of the tasks with at least 50"):
        prepared(tmp_path, objectives=["acc", worst])
