"""What a recipe's configuration says before any weights are read: its models in order, and dtypes that exist."""

from __future__ import annotations

import pytest

from mergekit_calib.errors import RecipeError
from mergekit_calib.merging.merge_configuration import configuration


def test_models_are_in_the_recipes_order_without_a_base_model():
    names = [f"org/{name}" for name in "fbdaec"]
    recipe = {"merge_method": "linear", "models": [{"model": name} for name in (*names, names[2])]}
    assert [str(model) for model in configuration(recipe).referenced_models()] == names
    sources = [{"model": name, "layer_range": [0, 1]} for name in names]
    sliced = {"merge_method": "linear", "base_model": "org/z", "slices": [{"sources": sources}]}
    assert [str(model) for model in configuration(sliced).referenced_models()] == ["org/z", *names]
    module = {"merge_method": "linear", "modules": {"text": {"models": recipe["models"]}}}
    assert [str(model) for model in configuration(module).referenced_models()] == names


@pytest.mark.parametrize("key", ["dtype", "out_dtype"])
@pytest.mark.parametrize("name", ["bf16", "int64", 16])
def test_a_dtype_that_mergekit_does_not_know_is_an_error(key, name):
    recipe = {"merge_method": "linear", "models": [{"model": "a"}], key: name}
    with pytest.raises(RecipeError, match=rf"f.yml: {key}: is {name!r}; it can be float32"):
        configuration(recipe, "f.yml")
