"""Baselines are fitted on the selection split and reported on the held-out split, and are never points."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from helpers.simulated_models import ACC, BRIER, ECE, Model, analysed, empty, items, without_choices
from mergekit_calib import metrics
from mergekit_calib.analysis import SweepAnalysis
from mergekit_calib.analysis.baselines.mixtures import average_probabilities
from mergekit_calib.analysis.baselines.temperature_scaling import at_temperatures, fit_temperatures
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.report.text.statements import recalibration
from mergekit_calib.results.frontier import Objective, PointResult

PAIR = {"base": Model(knowledge=1.3), "aligned": Model(knowledge=1.35, sureness=2.0)}


def test_the_temperature_of_an_overconfident_model_is_recovered_from_the_selection_split_alone():
    table = items({"aligned": Model(sureness=2.0)}, 4000)["aligned"]
    held_out = table.rows("held_out")
    relabelled = dataclasses.replace(
        table, labels=np.where(held_out[:, None], np.roll(table.labels, 1, axis=1), table.labels)
    )
    fitted = fit_temperatures({"made_up": [table]})
    assert fitted["made_up"] == pytest.approx(2.0, rel=0.06)
    assert fit_temperatures({"made_up": [relabelled]}) == fitted


def test_each_task_has_a_temperature_of_its_own_and_tasks_without_choices_have_none():
    first = items({"m": Model(sureness=2.0)}, 4000, task="a")["m"]
    second = items({"m": Model(sureness=0.5)}, 4000, task="b")["m"]
    texts = without_choices(first, {"f1": np.ones(4000)})
    tables = {"a": [first], "b": [second], "c": [texts]}
    fitted = fit_temperatures(tables)
    assert fitted == pytest.approx({"a": 2.0, "b": 0.5}, rel=0.1)
    scaled = at_temperatures(tables, fitted)
    assert np.array_equal(scaled["b"][0].log_likelihoods, second.log_likelihoods / fitted["b"])
    assert scaled["c"][0] is texts


def test_averaging_averages_probabilities():
    tables = items(PAIR, 50)
    (mean,) = average_probabilities({"t": [tables["base"]]}, {"t": [tables["aligned"]]})["t"]
    expected = (tables["base"].probabilities + tables["aligned"].probabilities) / 2
    assert np.allclose(mean.probabilities, expected, rtol=0, atol=1e-12)


def test_a_choice_with_probability_0_in_both_models_keeps_it():
    table = items({"m": Model()}, 3)["m"]
    scores = table.log_likelihoods.copy()
    scores[:, 0] = -np.inf
    impossible = dataclasses.replace(table, log_likelihoods=scores)
    (mean,) = average_probabilities({"t": [impossible]}, {"t": [impossible]})["t"]
    assert (mean.probabilities[:, 0] == 0).all()


def test_baselines_are_computed_on_the_held_out_split_and_are_no_points():
    models = {**PAIR, "0.5": Model(knowledge=1.6, sureness=1.4)}
    frontier = analysed(models, (ACC, ECE, BRIER))
    assert {b.id: b.models_run for b in frontier.baselines} == {
        "aligned+T": 1,
        "aligned+T*": 1,
        "base&aligned": 2,
        "base|aligned": 2,
        "lambda=0.5+T": 1,
    }
    assert [b.id for b in frontier.baselines if not b.uses_labels] == ["aligned+T*"]
    table = items(models)["aligned"]
    part = table.take(table.rows("held_out"))
    (temperature,) = frontier.baselines[0].temperatures.values()
    p = metrics.choice_probabilities(part.log_likelihoods, temperature)
    assert frontier.baselines[0].estimate(ECE).value == pytest.approx(
        metrics.expected_calibration_error(p, part.labels)
    )
    assert frontier.baselines[0].estimate(ECE).n == len(part)
    assert {p.id for p in frontier.points}.isdisjoint(b.id for b in frontier.baselines)
    assert frontier.selection.point in {p.id for p in frontier.points}


def test_a_temperature_changes_no_accuracy():
    frontier = analysed({**PAIR, "0.5": Model(1.6, 1.4)})
    aligned = frontier.parent("aligned")
    assert frontier.baseline("aligned+T").estimate(ACC) == aligned.estimate(ACC)
    assert frontier.baseline("aligned+T").estimate(ECE).value < aligned.estimate(ECE).value


def test_differences_are_paired_and_are_the_choice_minus_the_baseline():
    frontier = analysed({**PAIR, "0.5": Model(1.6, 1.4)})
    baseline, chosen = frontier.baseline("aligned+T"), frontier.selected
    difference = baseline.differences[chosen.id]["acc"]
    assert difference.value == pytest.approx(chosen.estimate(ACC).value - baseline.estimate(ACC).value)
    assert difference.high - difference.low < chosen.estimate(ACC).high - chosen.estimate(ACC).low
    assert set(baseline.differences) == {"lambda=0.5", "lambda=0.5+T"}


def test_metrics_that_are_not_computed_from_probabilities_are_left_out():
    tables = {name: dataclasses.replace(t, values={"brier": np.ones(1000)}) for name, t in items(PAIR).items()}
    analysis = SweepAnalysis([ACC, ECE], BUILT_IN, 0.95, 100, 15, 0)
    frontier = empty((ACC, ECE))
    for role, table in tables.items():
        frontier.points.append(PointResult(id=role, role=role, recipe=""))
        analysis.add(frontier.points[-1], {"t": [table]})
    frontier.selection = analysis.conclude(frontier.points, "knee", {})
    analysis.finish(frontier, "knee", {})
    recalibrated, average = frontier.baseline("aligned+T"), frontier.baseline("base&aligned")
    assert "brier" not in recalibrated.metrics["t"]
    assert "acc_norm" in recalibrated.metrics["t"]
    assert "acc_norm" not in average.metrics["t"]
    assert "nll" in average.metrics["t"]


def test_a_task_without_choices_has_no_baselines():
    f1 = Objective(metric="f1", direction="maximize")
    analysis = SweepAnalysis([f1], BUILT_IN, 0.95, 100, 15, 0)
    frontier = empty((f1,))
    for role, table in items(PAIR, 60).items():
        texts = without_choices(table, {"f1": np.random.default_rng(0).random(60)})
        frontier.points.append(PointResult(id=role, role=role, recipe=""))
        analysis.add(frontier.points[-1], {"t": [texts]})
    frontier.selection = analysis.conclude(frontier.points, "knee", {})
    analysis.finish(frontier, "knee", {})
    assert frontier.baselines == []
    assert frontier.splits is not None


def test_a_point_that_is_only_less_confident_does_not_beat_temperature_scaling():
    # The same knowledge and the same noise: the merge differs from aligned by a temperature only.
    aligned = Model(knowledge=1.35, sureness=2.0, own=0.0)
    models = {"base": Model(0.9, own=0.0), "aligned": aligned, "0.5": dataclasses.replace(aligned, sureness=1.2)}
    frontier = analysed(models)
    assert frontier.selected.id == "lambda=0.5"
    assert recalibration(frontier).startswith("Merging does not significantly beat temperature scaling: ")


def test_a_more_accurate_point_beats_temperature_scaling_on_accuracy():
    frontier = analysed({**PAIR, "0.5": Model(knowledge=1.9, sureness=1.4)}, n_items=2000)
    assert recalibration(frontier).startswith("Merging beats temperature scaling on accuracy (")


def test_a_less_accurate_point_loses_to_temperature_scaling_on_accuracy():
    models = {"base": Model(0.6), "aligned": Model(1.6, 2.0), "0.5": Model(1.1, 1.0)}
    frontier = analysed(
        models, rule="max", options={"objective": "acc", "bounds": {"ece": {"max": 0.08}}}, n_items=2000
    )
    assert frontier.selected.id == "lambda=0.5"
    assert recalibration(frontier).startswith("Merging loses to temperature scaling on accuracy (")


def test_without_a_true_gain_merging_beats_temperature_scaling_no_more_often_than_the_level():
    # Equal accuracy with independent errors, so any difference in accuracy is random.
    models = {"base": Model(0.9), "aligned": Model(1.4, 2.0, own=0.3), "0.5": Model(1.4, 1.2, own=0.3)}
    claims = 0
    for seed in range(50):
        frontier = analysed(models, n_items=400, seed=seed, n_resamples=100)
        if frontier.selected.id == "lambda=0.5":
            claims += recalibration(frontier).startswith("Merging beats")
    assert claims <= 5
