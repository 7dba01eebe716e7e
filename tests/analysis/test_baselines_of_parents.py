"""Baselines of one to several parents: which there are, which are shown, and comparisons that are cross-fitted."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.simulated_models import ACC, ECE, Model, analysed, empty, items
from mergekit_calib import metrics
from mergekit_calib.analysis import SweepAnalysis
from mergekit_calib.analysis.baselines.temperature_scaling import fit_temperatures_without_labels
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.results.frontier import Frontier, Objective, PointResult

NLL = Objective(metric="nll", direction="minimize")
MATH, CODE = Model(1.6, 1.5, own=0.3), Model(0.8, 3.0, own=0.3)


def swept(parents: dict[str, Model], **points: Model) -> Frontier:
    """The frontier of parents by their roles and of other points, which are chosen among by their NLL."""
    analysis, frontier = SweepAnalysis([ACC, ECE], BUILT_IN, 0.95, 100, 15, 0), empty((ACC, ECE))
    frontier.models = {role: f"org/{role}" for role in parents}
    for name, table in items({**parents, **points}, 400).items():
        frontier.points.append(PointResult(id=name, role=name if name in parents else None, recipe=""))
        analysis.add(frontier.points[-1], {"t": [table]})
    frontier.selection = analysis.conclude(frontier.points, "least", {})
    frontier.blends = analysis.blends(frontier)
    analysis.finish(frontier, "least", {})
    return frontier


@pytest.fixture(scope="module")
def three() -> Frontier:
    return swept({"base": Model(1.2), "math": MATH, "code": CODE}, merge=Model(1.8, own=0.3))


def test_base_is_paired_with_each_other_parent(three):
    assert [b.id for b in three.baselines] == [
        *("math+T", "code+T", "math+T*", "code+T*", "base&math", "base&code", "base|math", "base|code"),
        "merge+T",
    ]
    assert [curve.of for curve in three.blends] == [("base", "math"), ("base", "code")]


def test_of_several_of_a_kind_the_best_on_the_selection_split_is_shown(three):
    shown = [b.id for b in three.baselines if b.shown]
    assert shown == ["math+T", "math+T*", "base&math", "base|math", "merge+T"]


def test_each_baseline_is_compared_with_the_choice_shown_or_not(three):
    assert three.selected.id == "merge"
    for baseline in three.baselines:
        assert set(baseline.differences) == {"merge", "merge+T"} - {baseline.id}
        assert baseline.metrics["suite"]["ece"]["held_out"].value is not None


def test_one_parent_has_temperatures_alone():
    frontier = swept({"base": Model(1.2, 2.0)}, merge=Model(1.3))
    assert [b.id for b in frontier.baselines] == ["base+T", "merge+T"]
    assert frontier.blends == []


def test_without_a_base_model_every_parent_has_a_temperature_and_none_is_fitted_to_another():
    frontier = swept({"math": MATH, "code": CODE}, merge=Model(1.8))
    assert [b.id for b in frontier.baselines] == ["math+T", "code+T", "math&code", "math|code", "merge+T"]


def test_a_chosen_parents_temperature_stands_once_and_is_shown():
    frontier = swept({"base": Model(1.2), "math": Model(0.9, 3.0), "code": Model(1.8, own=0.3)}, merge=Model(0.5, 4.0))
    assert frontier.selected.id == "code"
    ids = [b.id for b in frontier.baselines]
    assert ids.count("code+T") == 1
    assert frontier.baseline("code+T").shown
    assert "code+T" in frontier.baseline("base|math").differences


def test_a_temperature_without_labels_makes_the_model_as_confident_as_base_where_they_agree():
    # Aligned is base, but twice as sure.
    models = {"base": Model(1.3, own=0.0), "aligned": Model(1.3, 2.0, own=0.0), "0.5": Model(1.5, 1.4)}
    frontier = analysed(models, n_items=600, n_resamples=100)
    baseline = frontier.baseline("aligned+T*")
    assert (baseline.kind, baseline.uses_labels, baseline.models_run) == ("temperature", False, 1)
    assert baseline.temperatures == {"made_up": pytest.approx(2.0)}
    assert baseline.estimate(ECE).value == pytest.approx(frontier.parent("base").estimate(ECE).value)


def test_it_is_fitted_on_the_items_of_the_split():
    tables = {name: {"t": [table]} for name, table in items({"base": Model(1.3), "math": MATH}, 400).items()}
    fitted = [fit_temperatures_without_labels(tables["math"], tables["base"], s) for s in ("selection", "held_out")]
    for split, temperatures in zip(("selection", "held_out"), fitted, strict=True):
        math, base = (tables[name]["t"][0].take(tables[name]["t"][0].rows(split)) for name in ("math", "base"))
        expected = metrics.fit_temperature_to_model(math.log_likelihoods, base.log_likelihoods)
        assert temperatures == {"t": expected}
    assert fitted[0] != fitted[1]


def test_where_the_point_is_chosen_on_all_items_baselines_are_fitted_on_the_split_that_they_do_not_answer():
    models = {"base": Model(1.3), "aligned": Model(1.35, 2.0), "0.5": Model(1.6, 1.2)}
    frontier = analysed(models, rule="least", n_items=600, n_resamples=100, choose_on="all")
    assert frontier.splits.agree
    tables = items(models, 600)
    aligned, selection = tables["aligned"], tables["aligned"].in_selection_split
    scaled = np.empty_like(aligned.log_likelihoods)
    for fitted_on in (selection, ~selection):
        temperature = metrics.fit_temperature(aligned.log_likelihoods[fitted_on], aligned.labels[fitted_on])
        scaled[~fitted_on] = aligned.log_likelihoods[~fitted_on] / temperature

    def ece(scores):
        return metrics.expected_calibration_error(metrics.choice_probabilities(scores), aligned.labels, 15)

    difference = frontier.baseline("aligned+T").differences["lambda=0.5"]["ece"]
    assert difference.n == 600
    assert difference.value == pytest.approx(ece(tables["0.5"].log_likelihoods) - ece(scaled))
    assert frontier.baseline("aligned+T").estimate(ECE).n == (~selection).sum()
