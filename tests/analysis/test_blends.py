"""Blended log-probabilities of the parents: the curve, the λ that the rule chooses on it, and what it forecasts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.simulated_models import ACC, ECE, Model, analysed, empty, items, without_choices
from mergekit_calib import metrics
from mergekit_calib.analysis import SweepAnalysis
from mergekit_calib.analysis.baselines import blend_lambdas
from mergekit_calib.analysis.baselines.mixtures import blend_log_probabilities
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.items.table import ItemTable, choice_table
from mergekit_calib.results.frontier import Frontier, Objective, PointResult

MODELS = {"base": Model(1.3), "aligned": Model(1.35, 2.0, own=0.4), "0.5": Model(1.5, 1.4)}
NLL = Objective(metric="nll", direction="minimize")
inf = float("inf")


@pytest.fixture(scope="module")
def frontier() -> Frontier:
    return analysed(MODELS, (ACC, ECE), rule="least", n_items=600, n_resamples=100)


def directly_blended(tables: dict[str, ItemTable], at: float, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return p ∝ p_base^(1 − λ) p_aligned^λ over the choices of the items in `split`, and the labels."""
    base, aligned = (tables[name].take(tables[name].rows(split)) for name in ("base", "aligned"))
    p = base.probabilities ** (1 - at) * aligned.probabilities**at
    return p / p.sum(axis=1, keepdims=True), base.labels


@pytest.mark.parametrize("split", ["selection", "held_out"])
def test_the_curve_is_that_of_the_mixture_of_the_parents_distributions(frontier, split):
    tables = items(MODELS, 600)
    (curve,) = frontier.blends
    assert curve.of == ("lambda=0", "lambda=1")
    for i, at in enumerate(curve.lambdas):
        p, labels = directly_blended(tables, at, split)
        assert curve.values["acc"][split][i] == pytest.approx(metrics.accuracy(p, labels))
        assert curve.values["ece"][split][i] == pytest.approx(metrics.expected_calibration_error(p, labels, 15))


def test_the_ends_of_the_curve_are_the_parents(frontier):
    (curve,) = frontier.blends
    for at, role in ((0.0, "base"), (1.0, "aligned")):
        for objective in (ACC, ECE):
            value = curve.values[objective.name]["held_out"][curve.lambdas.index(at)]
            assert value == frontier.parent(role).estimate(objective).value


def test_the_lambda_of_the_baseline_is_the_rules_choice_on_the_selection_split(frontier):
    tables, baseline = items(MODELS, 600), frontier.baseline("base|aligned")
    of_selection = {
        at: metrics.negative_log_likelihood(*directly_blended(tables, at, "selection"))
        for at in frontier.blends[0].lambdas
    }
    assert 0 < baseline.at < 1
    assert baseline.at == min(of_selection, key=of_selection.__getitem__)
    assert (baseline.models_run, baseline.kind, baseline.shown) == (2, "blend", True)
    p, labels = directly_blended(tables, baseline.at, "held_out")
    assert baseline.estimate(NLL).value == pytest.approx(metrics.negative_log_likelihood(p, labels))
    assert baseline.estimate(NLL).n == len(labels)
    difference = baseline.differences[frontier.selected.id]["ece"]
    assert difference.value == pytest.approx(
        frontier.selected.estimate(ECE).value - metrics.expected_calibration_error(p, labels, 15)
    )


def test_a_blend_that_is_best_at_an_end_runs_that_parent_alone():
    # Base knows nothing, so less of it only makes an underconfident model surer.
    models = {"base": Model(0.01), "aligned": Model(1.5, 0.5), "0.5": Model(1.0)}
    baseline = analysed(models, (ACC, ECE), rule="least", n_items=600, n_resamples=100).baseline("base|aligned")
    assert (baseline.at, baseline.models_run) == (1.0, 1)


def test_the_curve_is_there_as_soon_as_both_parents_are_scored():
    analysis, frontier = SweepAnalysis([ACC, ECE], BUILT_IN, 0.95, 100, 15, 0), empty((ACC, ECE))
    seen = []
    for name, table in items(MODELS, 200).items():
        point = PointResult(id=name, role=name if name in frontier.models else None, recipe="")
        frontier.points.append(point)
        analysis.add(point, {"t": [table]})
        seen.append([curve.of for curve in analysis.blends(frontier)])
    assert seen == [[], [("base", "aligned")], [("base", "aligned")]]


def test_objectives_that_are_no_metrics_of_probabilities_are_left_out_of_curve_and_choice():
    f1 = Objective(metric="f1", task="texts", direction="maximize")
    analysis, frontier = SweepAnalysis([ACC, f1], BUILT_IN, 0.95, 100, 15, 0), empty((ACC, f1))
    for name, table in items(MODELS, 200).items():
        texts = without_choices(items({name: MODELS[name]}, 60, task="texts")[name], {"f1": np.linspace(0, 1, 60)})
        point = PointResult(id=name, role=name if name in frontier.models else None, recipe="")
        frontier.points.append(point)
        analysis.add(point, {"choices": [table], "texts": [texts]})
    rule, options = "max", {"objective": "acc", "bounds": {"texts/f1": {"min": 0.1}}}
    frontier.selection = analysis.conclude(frontier.points, rule, options)
    frontier.blends = analysis.blends(frontier)
    analysis.finish(frontier, rule, options)
    assert list(frontier.blends[0].values) == ["acc"]
    assert frontier.baseline("base|aligned").at is not None
    assert "f1" not in frontier.baseline("base|aligned").metrics["texts"]


@pytest.mark.parametrize(
    ("axes", "top", "among"),
    [
        ({}, 1.0, [0.0, 0.05, 0.95]),
        ({"lambda": [0.0, 1.5]}, 1.5, [1.05, 1.45]),
        ({"lambda": [-0.5, 0.333, 2]}, 2.0, [0.333, 0.35, 1.95]),
        ({"method": ["linear", "slerp"], "lambda": [0.5]}, 1.0, [0.5]),
    ],
)
def test_blends_are_made_at_fine_steps_up_to_the_greatest_lambda_and_at_the_sweeps_own(axes, top, among):
    lambdas = blend_lambdas(axes)
    assert lambdas == sorted(set(lambdas))
    assert (lambdas[0], lambdas[-1]) == (0.0, top)
    assert set(among) <= set(lambdas)
    assert max(np.diff(lambdas)) == pytest.approx(0.05)


def blended(first: list[float], second: list[float], at: float) -> list[float] | None:
    tables = [{"t": [choice_table([scores], [[0]])]} for scores in (first, second)]
    result = blend_log_probabilities(*tables, at)
    return None if result is None else result["t"][0].log_likelihoods[0].tolist()


def test_a_choice_that_a_parent_rules_out_is_ruled_out_between_them_but_not_at_the_other_end():
    assert blended([-1.0, -inf, -2.0], [-1.0, -2.0, -inf], 0.5) == [-1.0, -inf, -inf]
    assert blended([-1.0, -inf], [-1.0, -2.0], 1.0) == [-1.0, -2.0]
    assert blended([-1.0, -inf], [-3.0, -inf], 1.5) == [-4.0, -inf]


def test_there_is_no_blend_without_a_possible_choice_or_beyond_a_choice_that_base_rules_out():
    assert blended([-1.0, -inf], [-inf, -1.0], 0.5) is None
    assert blended([-1.0, -inf], [-1.0, -2.0], 1.5) is None


def test_a_lambda_without_a_blend_has_no_value_and_is_not_chosen():
    tables = items({name: MODELS[name] for name in ("base", "aligned")}, 200)
    impossible = tables["base"].log_likelihoods.copy()
    impossible[np.arange(200), (tables["base"].labels.argmax(axis=1) + 1) % 4] = -inf
    tables["base"] = replace(tables["base"], log_likelihoods=impossible)
    analysis, frontier = SweepAnalysis([ACC, ECE], BUILT_IN, 0.95, 100, 15, 0), empty((ACC, ECE))
    frontier.axes["lambda"] = [0.0, 1.5]
    for name, table in tables.items():
        frontier.points.append(PointResult(id=name, role=name, recipe=""))
        analysis.add(frontier.points[-1], {"t": [table]})
    (curve,) = analysis.blends(frontier)
    for at, value in zip(curve.lambdas, curve.values["acc"]["held_out"], strict=True):
        assert (value is None) == (at > 1)
    frontier.selection = analysis.conclude(frontier.points, "knee", {})
    analysis.finish(frontier, "knee", {})
    assert frontier.baseline("base|aligned").at <= 1


def test_an_axis_with_a_huge_value_does_not_make_an_endless_curve():
    lambdas = blend_lambdas({"lambda": [0.0, 0.5, 1.0, 1e39]})
    assert (lambdas[0], lambdas[-1], len(lambdas)) == (0.0, 1.0, 21)
