"""The worst task as an objective of a whole sweep: estimates, differences, the choice with a bound, the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mergekit_calib import Frontier
from mergekit_calib.analysis.stored_sweep import StoredSweep
from mergekit_calib.analysis.sweep_analysis import SweepAnalysis
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.report.page import report_html
from mergekit_calib.results.findings import Objective

WORST = [
    Objective(metric="acc", direction="maximize", average="worst"),
    Objective(metric="ece", direction="minimize", average="worst"),
]


@pytest.fixture(scope="module")
def concluded(finished_demo: Path) -> Frontier:
    """The demo's sweep with its items dealt to two tasks, and chosen by the worst of them."""
    stored = StoredSweep.load(finished_demo)
    frontier = stored.frontier.model_copy(update={"objectives": WORST}, deep=True)
    analysis = SweepAnalysis(WORST, list(BUILT_IN), level=0.95, n_resamples=100, n_bins=10, seed=0)
    for point in frontier.complete_points:
        (table,) = stored.tables(point.id)["calib_demo"]
        even = np.arange(len(table)) % 2 == 0
        halves = [replace(table.take(even), task="even"), replace(table.take(~even), task="odd")]
        analysis.add(point, {"calib_demo": halves})
    options = {"objective": "worst/acc", "bounds": {"worst/ece": {"max": 0.9}}}
    frontier.selection = analysis.conclude(frontier.points, "max", options)
    analysis.finish(frontier, "max", options)
    return frontier


def test_the_choice_has_the_best_worst_task_with_interval_and_paired_differences(concluded: Frontier):
    scored = concluded.complete_points
    best = max(p.metrics["worst"]["acc"]["selection"].value for p in scored)
    assert concluded.selected.metrics["worst"]["acc"]["selection"].value == best
    estimate = concluded.selected.metrics["worst"]["ece"]["held_out"]
    assert estimate.low <= estimate.value <= estimate.high
    assert {"worst/acc", "worst/ece"} <= concluded.selected.differences["base"].keys()
    for point in scored:
        assert point.metrics["worst"]["acc"]["held_out"].value <= point.metrics["suite"]["acc"]["held_out"].value


def test_the_page_shows_it(concluded: Frontier):
    assert "worst/ece" in report_html(concluded)
