"""Curves of item scores: log-likelihoods go through the points, numbers of sampled texts are fitted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import BarycentricInterpolator

from mergekit_calib.errors import CalibError
from mergekit_calib.items.table import choice_table
from mergekit_calib.search.surrogate.interpolation import ItemCurves
from mergekit_calib.search.surrogate.item_process import ItemProcess
from mergekit_calib.search.surrogate.leja import leja_points

NODES = [0.0, 1.5, 0.6, 1.0, 0.25]


def tables(log_likelihoods, shares=(0.5, 0.5)):
    choices = replace(choice_table(log_likelihoods, [[0]] * len(log_likelihoods)), task="choices")
    texts = replace(choice_table([[]] * 2, [[]] * 2), task="texts", values={"share": np.array(shares)})
    return {"suite": [choices, texts]}


def rows(x):
    return [[-1.0 - x**4, -2.0 + 0.5 * x], [-3.0 * x, -0.5 * x**2, -1.0]]


def test_log_likelihoods_go_through_the_scored_points_and_are_close_between_them():
    nodes = leja_points(0.0, 1.5, [0.0, 1.0, 1.5], 7)
    curves = ItemCurves.through(nodes, [tables(rows(x)) for x in nodes])
    for x in nodes:
        predicted = curves.at(x)["suite"][0].log_likelihoods
        np.testing.assert_allclose(predicted, tables(rows(x))["suite"][0].log_likelihoods, atol=0.02)
    for x in (0.1, 0.5, 1.2):
        predicted = curves.at(x)["suite"][0].log_likelihoods
        np.testing.assert_allclose(predicted, tables(rows(x))["suite"][0].log_likelihoods, atol=0.02)


def test_all_items_share_one_process_over_the_axis():
    scores = np.random.default_rng(0).normal(size=(len(NODES), 2, 3)) - 5.0
    predicted = ItemCurves.through(NODES, [tables(each) for each in scores]).at(0.8)["suite"][0].log_likelihoods
    process = ItemProcess.fit(np.array(NODES)[:, None] / 1.5, scores.reshape(len(NODES), 6))
    np.testing.assert_allclose(predicted.ravel(), process.predict(np.array([[0.8 / 1.5]]))[0], rtol=1e-6)


def test_few_points_are_enough_where_a_polynomial_swings():
    """Items that turn over at different λ, as where a model's answer changes, are predicted better than by Lagrange."""
    turns = np.random.default_rng(1).uniform(0.2, 1.8, 200)

    def turning(x):
        return [[-3.0 + np.tanh(8.0 * (x - turn)), -3.0 - np.tanh(8.0 * (x - turn))] for turn in turns]

    nodes = leja_points(0.0, 2.0, [0.0, 1.0, 2.0], 9)
    curves = ItemCurves.through(nodes, [tables(turning(x)) for x in nodes])
    errors = []
    for x in np.linspace(0.05, 1.95, 20):
        truth = np.array(turning(x))
        polynomial = BarycentricInterpolator(nodes, np.array([turning(node) for node in nodes]), rng=0)(x)
        errors.append([np.abs(y - truth).mean() for y in (curves.at(x)["suite"][0].log_likelihoods, polynomial)])
    ours, polynomials = np.mean(errors, axis=0)
    assert ours < 0.7 * polynomials


def test_numbers_of_texts_are_fitted_by_a_parabola_and_stay_within_those_seen():
    rng = np.random.default_rng(1)
    nodes = list(np.linspace(0.0, 1.0, 9))
    shares = np.clip(rng.normal(0.5, 0.2, (9, 2)), 0.0, 1.0)
    curves = ItemCurves.through(nodes, [tables(rows(0.0), s) for s in shares])
    expected = [np.polyval(np.polyfit(nodes, shares[:, i], 2), 0.33) for i in range(2)]
    np.testing.assert_allclose(curves.at(0.33)["suite"][1].values["share"], expected)
    beyond = ItemCurves.through([0.0, 0.5, 1.0], [tables(rows(0.0), s) for s in [(0, 1), (1, 1), (0.9, 1)]])
    assert beyond.at(0.7)["suite"][1].values["share"].tolist() == [1.0, 1.0]


def test_points_that_were_scored_on_other_documents_predict_nothing():
    with pytest.raises(CalibError, match="different documents"):
        ItemCurves.through([0.0, 1.0], [tables(rows(0.0)), tables(rows(0.0)[:1])])
