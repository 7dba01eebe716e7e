"""Suite entries that hold tasks with choices and tasks without: search, checks, analysis and card agree on them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace as Namespace

import numpy as np
import pytest
from lm_eval.api.metrics import mean

from helpers.simulated_models import ACC, ECE, Model, items, without_choices
from mergekit_calib.analysis import Analysis, estimation
from mergekit_calib.analysis.baselines import fitted_temperatures
from mergekit_calib.cards.card_maker import CardMaker
from mergekit_calib.errors import RecipeError
from mergekit_calib.items.metric_registry import BUILT_IN, pools_of
from mergekit_calib.items.table import in_split
from mergekit_calib.recipe import SuiteEntry
from mergekit_calib.recipe.block import CalibrationBlock
from mergekit_calib.results.frontier import Objective, PointResult
from mergekit_calib.scoring.loading import LoadedEntry
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
    analysis = Analysis(objectives, BUILT_IN, {}, level=0.95, n_resamples=100, n_bins=15, seed=0)
    analysis.add(point, tables)
    return point


def test_an_entry_takes_metrics_of_choices_of_its_tasks_with_choices_and_all_others_of_the_rest():
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


def test_the_search_sees_what_the_report_says_of_the_selection_half():
    tables, objectives = mixed(), (ACC, ECE, MACRO_ACC, GROUP_ACC, EXACT)
    point = analysed(objectives, tables)
    seen = Evaluator(objectives, BUILT_IN, {}, n_bins=15, seed=0).measure(tables).values
    assert seen == pytest.approx([point.estimate(objective, "selection").value for objective in objectives])


def test_an_entry_with_choices_for_the_report_alone_takes_the_others_temperature():
    tables = mixed()
    tables["group"] = [replace(t, doc_hashes=[in_split(h, "held_out") for h in t.doc_hashes]) for t in tables["group"]]
    temperatures = fitted_temperatures(tables)
    assert temperatures["group"] == temperatures["plain"]


def test_a_calibration_card_can_be_made_of_them():
    model = CardMaker({}, n_resamples=100).add("m", mixed())
    assert {"acc", "ece", "exact"} <= model.metrics["group"].keys()
    assert model.metrics["group"]["ece"].n == 120


def test_of_a_metric_that_both_yield_the_choices_are_taken():
    votes = without_choices(of_choices("v", 10), {"acc": np.ones(10), "confidence": np.ones(10)})
    (with_choices, names), (others, left) = pools_of([votes, of_choices("c")], {})
    assert (with_choices, others) == ([1], [0])
    assert {"acc", "ece"} <= names.keys()
    assert left.keys() == {"confidence"}
    assert estimation.averaged_entries({"v": [votes]}) == ["v"]


def fake_task(name: str, output_type: str, **own: bool):
    return Namespace(
        task_name=name,
        OUTPUT_TYPE=output_type,
        config=Namespace(process_results=None),
        aggregation=lambda: dict.fromkeys(own, mean),
        higher_is_better=lambda: own,
        _filters=[Namespace(name="none")],
    )


def checked(objectives: list, n_group: int = 20, same_half: bool = False):
    """The objectives of a suite as preflight finds them."""
    hashes = {
        name: [in_split(f"{name}-{i}", "held_out") if same_half else f"{name}-{i}" for i in range(n)]
        for name, n in (("p", 20), ("c", n_group), ("g", n_group))
    }
    choices, text = fake_task("c", "multiple_choice", acc=True), fake_task("g", "generate_until", exact=True, wer=False)
    suite = Namespace(
        entries=[
            LoadedEntry(SuiteEntry(task="plain"), [fake_task("p", "multiple_choice", acc=True)], documents=hashes),
            LoadedEntry(SuiteEntry(task="group"), [text, choices], documents=hashes),
        ]
    )
    block = CalibrationBlock(axes={"lambda": [0.5]}, suite=["plain", "group"], objectives=objectives)
    return objectives_of(Namespace(calibration=block, source="sweep.yml"), suite)


def test_objectives_of_them_are_admitted_with_their_directions():
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
def test_what_not_every_task_yields_is_no_objective_of_all(where):
    with pytest.raises(RecipeError, match=r"calibration.objectives\[0\]: .*a metric 'exact'; there are acc,"):
        checked([{"metric": "exact", **where}])


@pytest.mark.parametrize("metric", ["overconfidence", "overconfidence,strict"])
def test_a_metric_that_is_best_near_0_is_refused_as_an_objective(metric):
    with pytest.raises(RecipeError, match=r"objectives\[1\]: overconfidence.* best near 0.*; use ece, or brier"):
        checked(["acc", metric])
    with pytest.raises(RecipeError) as caught:
        checked(["acc", "eces"])
    assert "overconfidence" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "n_group", "same_half", "says"),
    [
        ({"metric": "acc", "task": "group"}, 1, False, "of the 1 of group none is in the"),
        ({"metric": "acc", "average": "macro"}, 1, False, "of the 1 of group none is in the"),
        ("acc", 1, True, "of the 21 of the suite none is in the selection split"),
    ],
)
def test_an_objective_without_items_in_a_half_is_refused_beforehand(spec, n_group, same_half, says):
    with pytest.raises(RecipeError) as caught:
        checked([spec], n_group, same_half)
    assert caught.value.key == "calibration.objectives[0]"
    assert says in str(caught.value)
    assert "a larger limit" in str(caught.value)
