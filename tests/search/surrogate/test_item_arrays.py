"""The arrays of item tables hold every finite number once, and predicted rows become item tables again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mergekit_calib.errors import CalibError
from mergekit_calib.items.table import choice_table
from mergekit_calib.search.surrogate.item_arrays import ItemArrays


def tables(*log_likelihoods, values=None):
    choices = replace(choice_table(log_likelihoods, [[0]] * len(log_likelihoods)), task="choices")
    generated = replace(choice_table([[]] * 2, [[]] * 2), task="texts", generations=[["a"], ["b"]])
    return {"suite": [choices, replace(generated, values=values or {"b": np.array([1.0, 2.0]), "a": np.zeros(2)})]}


def test_a_row_of_the_arrays_gives_the_model_back():
    models = [tables([-1.0, -2.0, -3.0], [-4.0, -5.0]), tables([-2.0, -2.5, -3.5], [-1.0, -6.0])]
    arrays = ItemArrays.of(models)
    assert arrays.log_likelihoods.tolist() == [[-1, -2, -3, -4, -5], [-2, -2.5, -3.5, -1, -6]]
    assert arrays.values.tolist() == [[0, 0, 1, 2]] * 2
    again = arrays.predicted(arrays.log_likelihoods[1], arrays.values[1], nearest=0)["suite"]
    np.testing.assert_array_equal(again[0].log_likelihoods, models[1]["suite"][0].log_likelihoods)
    np.testing.assert_array_equal(again[1].values["b"], [1.0, 2.0])
    assert again[1].generations is None


def test_what_is_not_finite_is_taken_from_the_nearest_model():
    models = [tables([-1.0, -np.inf], [-4.0, -5.0]), tables([-2.0, -2.5], [-1.0, -6.0])]
    arrays = ItemArrays.of(models)
    assert arrays.log_likelihoods.shape == (2, 3)
    predicted = [arrays.predicted(np.full(3, -9.0), arrays.values[0], i)["suite"][0].log_likelihoods for i in (0, 1)]
    assert predicted[0].tolist() == [[-9, -np.inf], [-9, -9]]
    assert predicted[1].tolist() == [[-9, -2.5], [-9, -9]]


def test_models_that_were_scored_on_other_documents_are_refused():
    with pytest.raises(CalibError, match="different documents"):
        ItemArrays.of([tables([-1.0, -2.0]), tables([-1.0, -2.0], [-1.0, -2.0])])
