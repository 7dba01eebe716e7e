"""Evaluating and racing points on several tasks, where an objective is an average of the tasks' values."""

from __future__ import annotations

import numpy as np
import pytest

from mergekit_calib import plugins
from mergekit_calib.errors import CalibError
from mergekit_calib.items.table import ItemTable, in_selection_split
from mergekit_calib.recipe import Racing
from mergekit_calib.results.frontier import Objective
from mergekit_calib.search.evaluation import Evaluator
from mergekit_calib.search.racing import Race

DOCS = {"large": [f"large-{i}" for i in range(1600)], "small": [f"small-{i}" for i in range(400)]}
METRICS = (("acc", "maximize"), ("brier", "minimize"))
POOLED = [Objective(metric=name, direction=way) for name, way in METRICS]
MACRO = [o.model_copy(update={"average": "macro"}) for o in POOLED]


def table(task: str, strength: np.ndarray, numbers: list[int] | None = None) -> ItemTable:
    """Four-choice items; `strength` (n_items,) is how far the correct choice is above the others, in nats."""
    n = len(DOCS[task])
    scores = np.zeros((n, 4))
    scores[:, 0] = strength
    ones = np.ones((n, 4), dtype=int)
    labels = np.eye(4, dtype=bool)[np.zeros(n, dtype=int)]
    whole = ItemTable(task, np.arange(n), DOCS[task], scores, labels, ones, ones)
    return whole if numbers is None else whole.take(np.array(numbers))


def evaluator(objectives: list[Objective]) -> Evaluator:
    return Evaluator(objectives, list(plugins.metrics().values()), n_bins=15, seed=0)


def weighted(large: float, small: float) -> list[Objective]:
    return [o.model_copy(update={"weights": {"large": large, "small": small}}) for o in MACRO]


@pytest.fixture
def strengths() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {task: rng.normal(1, 1, len(docs)) for task, docs in DOCS.items()}


def race(objectives: list[Objective], mine: dict[str, np.ndarray], rival: dict[str, np.ndarray]):
    racing = Race(Racing(blocks=4, error=0.2), evaluator(objectives), DOCS)

    def score(wanted):
        return {task: [table(task, mine[task], numbers)] for task, numbers in wanted.items()}

    return racing.run(score, [("rival", {task: [table(task, rival[task])] for task in DOCS})], order=1)


def test_a_macro_average_weighs_tasks_alike_however_many_items_they_have(strengths):
    tables = {task: [table(task, strengths[task])] for task in DOCS}
    evaluation = evaluator(MACRO).evaluate(tables)
    accuracies = []
    for task, docs in DOCS.items():
        seen = np.array([in_selection_split(doc) for doc in docs])
        accuracies.append(np.mean(strengths[task][seen] > 0))
    assert evaluation.values[0] == pytest.approx(np.mean(accuracies))
    assert evaluation.replicates.shape == (200, 2)
    assert evaluation.replicates[:, 0].mean() == pytest.approx(np.mean(accuracies), abs=0.01)


def test_the_noise_of_a_small_task_counts_by_its_weight(strengths):
    tables = {task: [table(task, strengths[task])] for task in DOCS}
    error = {
        name: np.std(evaluator(objectives).evaluate(tables).replicates[:, 0])
        for name, objectives in {"pooled": POOLED, "macro": MACRO, "large": weighted(1, 0)}.items()
    }
    assert error["macro"] > 1.2 * error["pooled"]
    only_large = evaluator(POOLED).evaluate({"large": tables["large"]})
    np.testing.assert_allclose(evaluator(weighted(1, 0)).evaluate(tables).values, only_large.values)
    assert error["large"] == pytest.approx(np.std(only_large.replicates[:, 0]), rel=0.2)


def test_a_race_compares_points_by_the_average_that_the_objective_names(strengths):
    """Better on the small task and worse on the large one: dominated over all items, not over the two tasks."""
    mine = {"large": strengths["large"] - 0.35, "small": strengths["small"] + 2.0}
    assert race(POOLED, mine, strengths)[1] is not None
    assert race(MACRO, mine, strengths)[1] is None
    tables, reason = race(weighted(9, 1), mine, strengths)
    assert reason is not None
    assert "dominated by rival after" in reason
    assert set(tables) == set(DOCS)


def test_a_race_over_tasks_ends_with_all_documents_of_each(strengths):
    tables, reason = race(MACRO, strengths, strengths)
    assert reason is None
    assert {task: len(some[0]) for task, some in tables.items()} == {task: len(docs) for task, docs in DOCS.items()}


def test_an_average_whose_weights_are_all_0_is_an_error(strengths):
    tables = {"small": [table("small", strengths["small"])]}
    with pytest.raises(CalibError, match="cannot be computed"):
        evaluator(weighted(1, 0)).evaluate(tables)
