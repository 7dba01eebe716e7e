"""Infinite and undefined metrics, scores that a metric cannot be computed from, and intervals within bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.simulated_models import ACC, ECE, Model, empty, items, without_choices
from mergekit_calib.analysis import SweepAnalysis
from mergekit_calib.analysis.decided_choice import Choosing
from mergekit_calib.analysis.scoped_statistics import SPLITS
from mergekit_calib.errors import CalibError
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.items.store import StoredPoint
from mergekit_calib.items.table import ItemTable
from mergekit_calib.recipe import Point
from mergekit_calib.results.frontier import Frontier, Objective, PointResult
from mergekit_calib.search.protocol import Outcome
from mergekit_calib.sweep.frontier_builder import FrontierBuilder

NLL = Objective(metric="nll", direction="minimize")
AUROC = Objective(metric="auroc", direction="maximize")
PAIR = {"base": Model(), "aligned": Model(1.4, 2.0), "0.5": Model(1.6, 1.2)}


def analysis(*objectives: Objective, seed: int = 0) -> SweepAnalysis:
    return SweepAnalysis(objectives, BUILT_IN, level=0.95, n_resamples=200, n_bins=15, seed=seed)


def scored(table: ItemTable, split: str, choice: np.ndarray, to: float) -> ItemTable:
    """Return the table with `to` as the log-likelihood of the choices marked in `choice`, in the split's first item."""
    changed = table.log_likelihoods.copy()
    row = np.flatnonzero(table.rows(split))[0]
    changed[row, choice[row]] = to
    return replace(table, log_likelihoods=changed)


def test_an_infinite_metric_that_is_not_an_objective_is_null_in_the_file(tmp_path):
    tables, statistics, frontier = items(PAIR, 200), analysis(ACC, ECE), empty((ACC, ECE))
    tables["0.5"] = scored(tables["0.5"], "held_out", tables["0.5"].labels, -np.inf)
    for name, role in (("base", "base"), ("aligned", "aligned"), ("0.5", None)):
        frontier.points.append(PointResult(id=name, role=role, recipe=""))
        statistics.add(frontier.points[-1], {"t": [tables[name]]})
    frontier.selection = statistics.conclude(frontier.points, "knee", {})
    statistics.finish(frontier, "knee", {})
    point = frontier.points[-1]
    assert point.metrics["suite"]["nll"]["held_out"].value is None
    difference = point.differences["base"]["nll"]
    assert (difference.value, difference.high) == (None, None)
    assert -10.0 < difference.low < 0.0
    (tmp_path / "frontier.json").write_text(frontier.model_dump_json())
    assert Frontier.load(tmp_path / "frontier.json") == frontier


def test_an_infinite_score_that_the_rules_see_is_null_in_the_file():
    tables, statistics, frontier = items(PAIR, 200), analysis(ACC, ECE), empty((ACC, ECE))
    tables["0.5"] = scored(tables["0.5"], "selection", tables["0.5"].labels, -np.inf)
    for name, role in (("base", "base"), ("aligned", "aligned"), ("0.5", None)):
        frontier.points.append(PointResult(id=name, role=role, recipe=""))
        statistics.add(frontier.points[-1], {"t": [tables[name]]})
    frontier.selection = statistics.conclude(frontier.points, "least", {})
    statistics.finish(frontier, "least", {})
    nll = frontier.rule_scores["nll"]
    assert frontier.selection.point != "0.5"
    assert (nll.values["0.5"], nll.standard_errors["0.5"]) == (None, None)
    assert Frontier.model_validate_json(frontier.model_dump_json()) == frontier


@pytest.mark.parametrize("split", ["selection", "held_out"])
def test_a_point_without_a_finite_objective_is_refused_with_the_reason(split):
    table = items(PAIR, 200)["base"]
    infinite = scored(table, split, table.labels, -np.inf)
    with pytest.raises(CalibError, match=f"nll is inf in the {split} split"):
        analysis(ACC, NLL).add(PointResult(id="m", recipe=""), {"t": [infinite]})
    certain = np.where(table.rows(split)[:, None] & table.labels, 50.0, table.log_likelihoods)
    with pytest.raises(CalibError, match=f"auroc is not defined for these answers in the {split} split"):
        analysis(ACC, AUROC).add(PointResult(id="m", recipe=""), {"t": [replace(table, log_likelihoods=certain)]})
    few = table.take(np.flatnonzero(~table.rows(split)))
    with pytest.raises(CalibError, match=f"acc is not defined for these answers in the {split} split"):
        analysis(ACC).add(PointResult(id="m", recipe=""), {"t": [few]})


def test_an_item_whose_choices_are_all_impossible_fails_its_point_and_not_the_sweep():
    tables = items(PAIR, 200)
    tables["aligned"] = scored(tables["aligned"], "held_out", np.ones_like(tables["aligned"].labels), -np.inf)
    builder = FrontierBuilder(empty((ACC, ECE)), analysis(ACC, ECE), Choosing({"rule": "knee"}))
    results = [
        builder.add(Outcome(Point(name, {}, {}), i, StoredPoint(name, {"t": [tables[name]]}, name, {})))
        for i, name in enumerate(PAIR)
    ]
    assert builder.frontier.points == results
    assert [point.status for point in results] == ["complete", "failed", "complete"]
    assert "are all -inf; they make no distribution" in results[1].reason
    assert results[1].metrics == {}
    assert builder.frontier.reliability.keys() == {"base", "0.5"}


@pytest.mark.parametrize("seed", range(4))
def test_no_interval_exceeds_the_largest_value_of_its_metric(seed):
    """One answer of many is wrong: a third of the resamples contain no wrong one, and centring shifts them upwards."""
    n = 200
    scores = np.tile([5.0, 0.0, 0.0], (n, 1))
    scores[0] = scores[0, ::-1]
    labels, ones = np.tile([True, False, False], (n, 1)), np.ones((n, 3), dtype=np.int64)
    table = ItemTable("t", np.arange(n), [f"doc-{i}" for i in range(n)], scores, labels, ones, ones)
    point = PointResult(id="m", recipe="")
    analysis(ACC, ECE, seed=seed).add(point, {"t": [table]})
    for estimate in (point.metrics["suite"][metric][split] for metric in ("acc", "acc_norm") for split in SPLITS):
        assert 0.98 < estimate.value <= estimate.high <= 1.0


def test_a_tasks_own_metric_is_computed_from_the_documents_that_have_it():
    table = items(PAIR, 100)["base"]
    given = np.where(np.arange(100) % 3 == 0, np.nan, np.arange(100.0))
    point = PointResult(id="m", recipe="")
    texts = without_choices(table, {"some": given, "none": np.full(100, np.nan)})
    analysis(Objective(metric="some", direction="maximize")).add(point, {"t": [texts]})
    estimate = point.metrics["suite"]["some"]["all"]
    assert estimate.value == pytest.approx(np.nanmean(given))
    assert estimate.low < estimate.value < estimate.high
    assert "none" not in point.metrics["suite"]
