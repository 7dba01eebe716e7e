"""Curves of item scores: polynomials come out exactly, numbers of sampled texts are fitted and stay in range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import BarycentricInterpolator

from mergekit_calib.errors import CalibError
from mergekit_calib.items.table import choice_table
from mergekit_calib.search.surrogate.interpolation import ItemCurves

NODES = [0.0, 1.5, 0.6, 1.0, 0.25]


def tables(log_likelihoods, shares=(0.5, 0.5)):
    choices = replace(choice_table(log_likelihoods, [[0]] * len(log_likelihoods)), task="choices")
    texts = replace(choice_table([[]] * 2, [[]] * 2), task="texts", values={"share": np.array(shares)})
    return {"suite": [choices, texts]}


def rows(x):
    return [[-1.0 - x**4, -2.0 + 0.5 * x], [-3.0 * x, -0.5 * x**2, -1.0]]


def test_log_likelihoods_that_are_polynomials_are_predicted_exactly():
    curves = ItemCurves.through(NODES, [tables(rows(x)) for x in NODES])
    for x in (0.1, 0.6, 1.2):
        predicted = curves.at(x)["suite"][0]
        np.testing.assert_allclose(
            predicted.log_likelihoods, tables(rows(x))["suite"][0].log_likelihoods, rtol=1e-12, atol=1e-12
        )


def test_any_log_likelihoods_are_predicted_as_scipy_interpolates_them():
    scores = np.random.default_rng(0).normal(size=(len(NODES), 2, 3)) - 5.0
    predicted = ItemCurves.through(NODES, [tables(each) for each in scores]).at(0.8)["suite"][0].log_likelihoods
    np.testing.assert_allclose(predicted, BarycentricInterpolator(NODES, scores, rng=0)(0.8), rtol=1e-10)


def test_numbers_of_texts_are_fitted_by_a_parabola_and_stay_within_those_seen():
    rng = np.random.default_rng(1)
    nodes = list(np.linspace(0.0, 1.0, 9))
    shares = np.clip(rng.normal(0.5, 0.2, (9, 2)), 0.0, 1.0)
    curves = ItemCurves.through(nodes, [tables(rows(0.0), s) for s in shares])
    expected = [np.polyval(np.polyfit(nodes, shares[:, i], 2), 0.33) for i in range(2)]
    np.testing.assert_allclose(curves.at(0.33)["suite"][1].values["share"], expected)
    beyond = ItemCurves.through([0.0, 0.5, 1.0], [tables(rows(0.0), s) for s in [(0, 1), (1, 1), (0.9, 1)]])
    assert beyond.at(0.7)["suite"][1].values["share"].tolist() == [1.0, 1.0]


def test_two_nodes_give_a_straight_line():
    curves = ItemCurves.through([0.0, 1.0], [tables(rows(0.0), (0.0, 1.0)), tables(rows(1.0), (1.0, 1.0))])
    assert curves.at(0.25)["suite"][0].log_likelihoods[0, 0] == pytest.approx(-1.25)
    assert curves.at(0.25)["suite"][1].values["share"].tolist() == pytest.approx([0.25, 1.0])


def test_points_that_were_scored_on_other_documents_predict_nothing():
    with pytest.raises(CalibError, match="different documents"):
        ItemCurves.through([0.0, 1.0], [tables(rows(0.0)), tables(rows(0.0)[:1])])
