"""Suite entries that contain tasks with and without choices: search, validation, analysis and card agree on them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace as Namespace

import numpy as np
import pytest

from helpers.simulated_models import ACC, ECE, Model, items, without_choices
from mergekit_calib.analysis import SweepAnalysis
from mergekit_calib.analysis.baselines.temperature_scaling import fit_temperatures
from mergekit_calib.cards.card_maker import CardMaker
from mergekit_calib.errors import RecipeError
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.items.scopes import TaskDescription
from mergekit_calib.items.table import in_split
from mergekit_calib.recipe.block import CalibrationBlock
from mergekit_calib.results.frontier import Objective, PointResult
from mergekit_calib.search.evaluation import Evaluator
from mergekit_calib.sweep.validation import objectives_of

MACRO_ACC = ACC.model_copy(update={"average": "macro"})
GROUP_ACC = ACC.model_copy(update={"task": "group"})
EXACT = Objective(metric="exact", task="group", direction="maximize")


def of_choices(task: str, n: int = 120):
    return items({"m": Model(1.4, 2.0)}, n, task=task)["m"]


def generated(task: str, n: int = 80):
    exact = np.random.default_rng(0).integers(0, 2, n).astype(float)
    return replace(without_choices(of_choices(task, n), {"exact": exact}), generations=[["text"]] * n)


def mixed():
    return {"plain": [of_choices("plain", 60)], "group": [generated("g"), of_choices("c")]}


def analysed(objectives, tables):
    point = PointResult(id="m", recipe="")
    analysis = SweepAnalysis(objectives, BUILT_IN, level=0.95, n_resamples=100, n_bins=15, seed=0)
    analysis.add(point, tables)
    return point


def test_metrics_of_choices_are_computed_from_the_tasks_with_choices_and_others_from_the_rest():
    tables = mixed()
    point = analysed((ACC, ECE, MACRO_ACC, GROUP_ACC, EXACT), tables)
    alone = analysed((ACC, ECE), {"group": [tables["group"][1]]})
    for metric in ("acc", "ece", "brier", "nll"):
        for split, estimate in alone.metrics["group"][metric].items():
            assert point.metrics["group"][metric][split].value == estimate.value
            assert point.metrics["group"][metric][split].n == estimate.n
    exact = point.metrics["group"]["exact"]["all"]
    assert (exact.value, exact.n) == (tables["group"][0].values["exact"].mean(), 80)
    assert point.metrics["suite"]["acc"]["all"].n == 180
    assert "exact" not in point.metrics["suite"]
    macro = point.metrics["macro"]["acc"]["all"]
    assert macro.n == 180
    assert macro.value == pytest.approx(np.mean([point.metrics[e]["acc"]["all"].value for e in tables]))


def test_the_search_sees_the_values_that_the_report_gives_for_the_selection_split():
    tables, objectives = mixed(), (ACC, ECE, MACRO_ACC, GROUP_ACC, EXACT)
    point = analysed(objectives, tables)
    seen = Evaluator(objectives, BUILT_IN, n_bins=15, seed=0).evaluate(tables).values
    assert seen == pytest.approx([point.estimate(objective, "selection").value for objective in objectives])


def test_an_entry_without_items_in_the_selection_split_has_the_temperature_of_the_others():
    tables = mixed()
    tables["group"] = [replace(t, doc_hashes=[in_split(h, "held_out") for h in t.doc_hashes]) for t in tables["group"]]
    temperatures = fit_temperatures(tables)
    assert temperatures["group"] == temperatures["plain"]


def test_a_calibration_card_can_be_made_from_them():
    model = CardMaker({}, n_resamples=100).add("m", mixed())
    assert {"acc", "ece", "exact"} <= model.metrics["group"].keys()
    assert model.metrics["group"]["ece"].n == 120


def checked(objectives: list, n_group: int = 20, same_split: bool = False):
    """Return the objectives of a suite as preflight resolves them."""
    plain = TaskDescription("p", "plain", True, {}, hashes("p", 20, same_split))
    texts = TaskDescription(
        "g", "group", False, {"exact": "maximize", "wer": "minimize"}, hashes("g", n_group, same_split)
    )
    choices = TaskDescription("c", "group", True, {}, hashes("c", n_group, same_split))
    block = CalibrationBlock(axes={"lambda": [0.5]}, suite=["plain", "group"], objectives=objectives)
    sweep = Namespace(calibration=block, parent_models={"base": "b", "aligned": "a"}, source="sweep.yml")
    return objectives_of(sweep, [plain, texts, choices])


def hashes(task: str, n: int, same_split: bool) -> list[str]:
    return [in_split(f"{task}-{i}", "held_out") if same_split else f"{task}-{i}" for i in range(n)]


def test_their_objectives_have_the_direction_of_the_metric():
    named = ["acc", {"metric": "ece", "average": "macro"}]
    of_group = [{"metric": metric, "task": "group"} for metric in ("brier", "exact", "wer")]
    assert [(o.name, o.direction) for o in checked([*named, *of_group])] == [
        ("acc", "maximize"),
        ("macro/ece", "minimize"),
        ("group/brier", "minimize"),
        ("group/exact", "maximize"),
        ("group/wer", "minimize"),
    ]


@pytest.mark.parametrize("where", [{}, {"average": "macro"}, {"task": "plain"}])
def test_a_metric_that_not_every_task_has_is_no_objective_of_the_suite(where):
    with pytest.raises(RecipeError, match=r"calibration.objectives\[0\]: .*has no metric 'exact'; it has acc,"):
        checked([{"metric": "exact", **where}])


@pytest.mark.parametrize("metric", ["overconfidence", "overconfidence,strict"])
def test_a_metric_that_is_best_near_0_is_refused_as_an_objective(metric):
    with pytest.raises(RecipeError, match=r"objectives\[1\]: overconfidence.* best near 0.*; use ece or brier"):
        checked(["acc", metric])
    with pytest.raises(RecipeError) as caught:
        checked(["acc", "eces"])
    assert "overconfidence" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "n_group", "same_split", "says"),
    [
        ({"metric": "acc", "task": "group"}, 1, False, "none of the 1 items of group is in the"),
        ({"metric": "acc", "average": "macro"}, 1, False, "none of the 1 items of group is in the"),
        ("acc", 1, True, "none of the 21 items of the suite is in the selection split"),
    ],
)
def test_an_objective_without_items_in_a_split_is_refused_before_the_run(spec, n_group, same_split, says):
    with pytest.raises(RecipeError) as caught:
        checked([spec], n_group, same_split)
    assert caught.value.key == "calibration.objectives[0]"
    assert says in str(caught.value)
    assert "a larger limit" in str(caught.value)
