"""A suite whose entries name their split: points are chosen on one task and reported on another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mergekit_calib.analysis.baselines.temperature_scaling import fit_temperatures
from mergekit_calib.errors import RecipeError
from mergekit_calib.items.store import ItemStore
from mergekit_calib.items.table import in_selection_split, in_split
from mergekit_calib.results.frontier import Frontier


@pytest.fixture
def other(task: str, tmp_path: Path) -> str:
    """A second task with the same questions."""
    path = tmp_path / "other.yaml"
    path.write_text(Path(task).read_text().replace("task: made_up", "task: other"))
    return str(path)


def chosen_and_reported(task: str, other: str) -> list[dict[str, str]]:
    return [{"task": task, "split": "selection"}, {"task": other, "split": "held_out"}]


def test_a_named_split_is_that_of_every_document():
    hashes = [f"{i:064x}" for i in range(50)]
    assert all(in_selection_split(in_split(doc, "selection")) for doc in hashes)
    assert not any(in_selection_split(in_split(doc, "held_out")) for doc in hashes)
    assert [in_split(doc, None) for doc in hashes] == hashes


def test_points_are_chosen_on_one_task_and_reported_on_another(recipe_with, run, tmp_path, task, other):
    recipe = recipe_with({"lambda": [0.5, 1.5]}, suite=chosen_and_reported(task, other))
    frontier, _ = run(recipe, tmp_path / "out")
    assert [(s.n_selection, s.n_held_out) for s in frontier.suite] == [(40, 0), (0, 40)]
    assert {p.status for p in frontier.points} == {"complete"}
    assert frontier.selected is not None
    stored = {p.id: p for p in (ItemStore(tmp_path / "out/calibration/items").load(k) for k in keys(tmp_path))}
    for point in frontier.points:
        estimates = point.metrics["suite"]["acc"]
        for split, name in (("selection", "made_up"), ("held_out", "other")):
            (table,) = stored[point.id].tables[name]
            correct = table.labels[np.arange(40), np.nanargmax(table.log_likelihoods, axis=1)]
            assert estimates[split].value == pytest.approx(correct.mean())
            assert estimates[split].n == 40
    assert Frontier.load(tmp_path / "out").finished
    temperature = fit_temperatures(stored["lambda=1"].tables)
    assert temperature["other"] == temperature["made_up"]  # fitted on the selection split alone
    assert (tmp_path / "out" / "calibration" / "report.html").exists()


def keys(tmp_path: Path) -> list[str]:
    return [key for key, _ in ItemStore(tmp_path / "out" / "calibration" / "items").described()]


def test_a_race_over_few_items_in_named_splits_stops_no_point(recipe_with, run, tmp_path, task, other):
    search = {"strategy": "random", "points": 2, "racing": True}
    frontier, _ = run(
        recipe_with({"lambda": {"min": 0, "max": 2}}, search, suite=chosen_and_reported(task, other)), tmp_path / "out"
    )
    assert {p.status for p in frontier.points} == {"complete"}  # no point is stopped before 100 items


@pytest.mark.parametrize(
    ("splits", "objectives", "key", "says"),
    [
        (["selection", "selection"], ["acc"], "calibration.suite", "needs split: held_out"),
        (["selection", "held_out"], [{"metric": "acc", "average": "macro"}], "objectives[0]", "in both splits"),
        (["selection", "held_out"], ["ece", {"metric": "acc", "task": 0}], "objectives[1]", "use the pooled acc"),
        (["selection", "reprot"], ["acc"], "calibration.suite[1].split", "held_out"),
    ],
)
def test_splits_that_leave_an_objective_without_items_are_refused(
    recipe_with, run, tmp_path, task, other, splits, objectives, key, says
):
    named = [{**o, "task": task} if isinstance(o, dict) and "task" in o else o for o in objectives]
    suite = [{"task": name, "split": split} for name, split in zip((task, other), splits, strict=True)]
    with pytest.raises(RecipeError) as caught:
        run(recipe_with({"lambda": [0.5]}, suite=suite, objectives=named), tmp_path / "out")
    assert key in caught.value.key
    assert says in str(caught.value)
