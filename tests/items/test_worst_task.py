"""The worst task's value of a metric, worked out by hand: value, resamples, small tasks, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from mergekit_calib.analysis.estimation import Estimator
from mergekit_calib.analysis.worst_tasks import notes_of_worst
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.items.scopes import Scopes, TaskDescription, describe_tables
from mergekit_calib.items.table import ItemTable, choice_table, in_selection_split
from mergekit_calib.metrics import WorstOf, mean_statistic
from mergekit_calib.recipe.block import CalibrationBlock
from mergekit_calib.results.findings import WORST, Objective
from mergekit_calib.results.frontier import PointResult
from mergekit_calib.search.evaluation import Evaluator


def _table(task: str, n: int, correct: int) -> ItemTable:
    """Items of two choices, answered with confidence 0.8; the first `correct` of every 10 correctly."""
    table = choice_table([[np.log(0.8), np.log(0.2)]] * n, [[0] if i % 10 < correct else [1] for i in range(n)])
    fields = {**vars(table), "task": task, "doc_hashes": [f"{task}{i}" for i in range(n)]}
    return ItemTable(**{name: fields[name] for name in ItemTable.__dataclass_fields__})


TABLES = {"group": [_table("easy", 400, 9), _table("hard", 400, 5)], "small": [_table("small", 60, 1)]}


def _accuracy(task: str, split: str) -> float:
    (table,) = [t for some in TABLES.values() for t in some if t.task == task]
    return float(table.labels[table.rows(split), 0].mean())


def test_the_worst_is_the_largest_or_the_smallest_part_on_every_resample():
    parts = [mean_statistic([1.0, 3.0]), mean_statistic([2.5, 0.5])]
    weights = [[1, 1, 1, 1], [2, 0, 0, 2], [0, 2, 2, 0]]
    assert WorstOf(parts, largest=True).value() == 2.0
    assert WorstOf(parts, largest=False).value() == 1.5
    assert WorstOf(parts, largest=True).replicates(weights).tolist() == [2.0, 1.0, 3.0]
    assert WorstOf(parts, largest=False).replicates(weights).tolist() == [1.5, 0.5, 2.5]
    with pytest.raises(ValueError, match="at least 1"):
        WorstOf([], largest=True)


def test_the_scope_has_the_tasks_that_are_large_enough_and_names_the_others():
    scopes = Scopes(describe_tables(TABLES), BUILT_IN)
    assert [term.scope for term in scopes.terms(WORST, "ece")] == ["easy", "hard"]
    in_selection = sum(map(in_selection_split, TABLES["small"][0].doc_hashes))
    assert scopes.too_small_for_worst == {"small": min(in_selection, 60 - in_selection)}


@pytest.mark.parametrize("split", ["selection", "held_out", "all"])
def test_estimates_are_those_of_the_worst_task(split):
    estimator = Estimator(
        BUILT_IN, None, level=0.95, n_resamples=200, n_bins=10, seed=0, worst={"acc": "maximize", "ece": "minimize"}
    )
    results = estimator.bootstrap(TABLES)
    estimates = estimator.estimates(results, TABLES)[WORST]
    assert set(estimates) == {"acc", "ece"}
    acc, ece = estimates["acc"][split], estimates["ece"][split]
    assert acc.value == pytest.approx(_accuracy("hard", split))
    # Every confidence is 0.8, so the binned error is |0.8 − accuracy|.
    assert ece.value == pytest.approx(0.8 - _accuracy("hard", split))
    assert acc.low < acc.value < acc.high
    n_items = sum(int(table.rows(split).sum()) for table in TABLES["group"])
    assert acc.n == n_items


def test_the_search_sees_what_the_report_says():
    objectives = [
        Objective(metric="acc", direction="maximize", average="worst"),
        Objective(metric="ece", direction="minimize", average="worst"),
    ]
    values = Evaluator(objectives, BUILT_IN, n_bins=10, seed=0).evaluate(TABLES).values
    hard = _accuracy("hard", "selection")
    assert values == pytest.approx([hard, 0.8 - hard])


def test_an_objective_is_named_by_its_scope_and_takes_no_weights_or_task():
    given = {"axes": {"lambda": [0.5]}, "suite": ["arc_easy", "calib_demo"]}
    spec = {"metric": "ece", "average": "worst"}
    block = CalibrationBlock.model_validate({**given, "objectives": ["acc", spec]})
    assert [o.name for o in block.objectives] == ["acc", "worst/ece"]
    assert Objective(metric="ece", direction="minimize", average="worst").name == "worst/ece"
    for wrong, problem in (({"weights": {"arc_easy": 1}}, "only a macro"), ({"task": "arc_easy"}, "not both")):
        with pytest.raises(ValueError, match=problem):
            CalibrationBlock.model_validate({**given, "objectives": [{**spec, **wrong}]})


def test_the_note_names_tasks_that_are_left_out_and_the_bias():
    worst = [Objective(metric="ece", direction="minimize", average="worst")]
    point = PointResult(id="p", recipe="")
    (note,) = notes_of_worst(worst, point, {"p": TABLES})
    assert "worst/ece: the worst of 2 tasks" in note
    assert "small (" in note
    assert "overstates" in note
    pooled = [Objective(metric="ece", direction="minimize")]
    assert notes_of_worst(pooled, point, {"p": TABLES}) == []


def test_a_suite_needs_two_tasks_that_are_large_enough():
    task = TaskDescription("tiny", "tiny", True, {}, [f"tiny{i}" for i in range(20)])
    scopes = Scopes([task], BUILT_IN)
    assert scopes.tasks_of_worst == []
    assert scopes.metrics(WORST) == {}
    with pytest.raises(KeyError):
        scopes.terms(WORST, "acc")
