"""Which models of a recipe are parents, and the role of each."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.mergekit_methods import METHODS
from mergekit_calib.errors import RecipeError
from mergekit_calib.recipe import Sweep, dump_recipe, parse_sweep
from mergekit_calib.recipe.parent_roles import model_name, short_names


def parse(recipe: dict[str, Any], axis: str = "scale", **block: Any) -> Sweep:
    block = {"axes": {axis: [0.5]}, "suite": ["any"], **block}
    return parse_sweep(dump_recipe({**recipe, "calibration": block}), METHODS, "sweep.yml")


def linear(*models: Any, axis: str = "scale", **keys: Any) -> dict[str, Any]:
    inputs = [{"model": model, "parameters": {"weight": f"${{{axis}}}"}} for model in models]
    return {"merge_method": "linear", "models": inputs, **keys}


def test_every_model_is_a_parent_with_the_base_model_first():
    sweep = parse(linear("org/chat", "org/code", base_model="org/pre"))
    assert sweep.parent_models == {"base": "org/pre", "chat": "org/chat", "code": "org/code"}
    parents = sweep.parents()
    assert [(p.id, p.role, p.axes) for p in parents] == [(role, role, {}) for role in ("base", "chat", "code")]
    assert parents[2].recipe == {"merge_method": "passthrough", "models": [{"model": "org/code"}]}


@pytest.mark.parametrize(
    ("recipe", "axis", "roles"),
    [
        (linear("org/a", base_model="org/b"), "scale", {"base": "org/b", "aligned": "org/a"}),
        (linear("org/b", "org/a", base_model="org/b"), "scale", {"base": "org/b", "aligned": "org/a"}),
        (linear("org/a", "org/b", axis="lambda"), "lambda", {"base": "org/a", "aligned": "org/b"}),
        (linear("org/a", "org/b"), "scale", {"a": "org/a", "b": "org/b"}),
        (linear("org/a", "org/b", "org/c", axis="lambda"), "lambda", {"a": "org/a", "b": "org/b", "c": "org/c"}),
        (linear("org/a"), "scale", {"base": "org/a"}),
        (linear("org/a", "org/a"), "scale", {"base": "org/a"}),
        (
            linear("org/a+org/x", "org/a+org/y", base_model="org/a"),
            "scale",
            {"base": "org/a", "x": "org/a+org/x", "y": "org/a+org/y"},
        ),
    ],
)
def test_roles_follow_from_the_base_model_and_the_number_of_models(recipe, axis, roles):
    assert list(parse(recipe, axis).parent_models.items()) == list(roles.items())


def test_a_base_model_that_all_slices_share_is_the_base():
    slices = [
        {"base_model": "org/a", "sources": [{"model": model, "layer_range": layers} for model in ("org/b", "org/a")]}
        for layers in ([0, 2], [2, 4])
    ]
    sweep = parse({"merge_method": "slerp", "slices": slices, "parameters": {"t": "${scale}"}})
    assert sweep.parent_models == {"base": "org/a", "aligned": "org/b"}


def test_a_self_stack_has_one_parent():
    slices = [{"sources": [{"model": "org/a", "layer_range": layers}]} for layers in ([0, 3], [1, 4])]
    slices[1]["sources"][0]["parameters"] = {"scale": "${scale}"}
    sweep = parse({"merge_method": "passthrough", "slices": slices})
    assert [(p.id, p.role) for p in sweep.parents()] == [("base", "base")]
    assert sweep.n_in_grid == 1


def test_the_block_can_name_fewer_parents():
    recipe = linear("org/chat", "org/code", base_model="org/pre")
    assert parse(recipe, parents=["org/code", "org/pre"]).parent_models == {"base": "org/pre", "aligned": "org/code"}
    assert parse(recipe, parents=["org/code", "org/chat"]).parent_models == {"code": "org/code", "chat": "org/chat"}
    assert parse(recipe, parents=["org/code"]).parent_models == {"code": "org/code"}
    given = {"aligned": "org/chat", "base": "org/code"}
    assert list(parse(recipe, parents=given).parent_models.items()) == [("base", "org/code"), ("aligned", "org/chat")]


def test_more_than_eight_models_can_be_merged_if_the_block_names_the_parents():
    recipe = linear(*(f"org/{i}" for i in range(12)), base_model="org/pre")
    with pytest.raises(RecipeError, match=r"names 13 models.* at most 8 .*`parents: \[org/0, org/1\]`"):
        parse(recipe)
    assert list(parse(recipe, parents=["org/pre", "org/7", "org/9"]).parent_models) == ["base", "7", "9"]


def test_names_that_clash_have_more_of_the_path():
    models = ["org/tuned", "./run-a/last", "./run-b/last", "org/tuned+org/adapter", "m1+x/ad", "m2+x/ad"]
    names = ["tuned", "run-a/last", "run-b/last", "adapter", "m1/x/ad", "m2/x/ad"]
    assert short_names(models) == names
    assert short_names(["org/base", "org/other"], taken=["base"]) == ["org/base", "other"]
    assert len(set(short_names(["base", "./base", "a//base"], taken=["base"]))) == 3


def test_a_role_cannot_be_mistaken_for_a_setting():
    assert short_names(["runs/lr=1e-5,seed=2"]) == ["lr-1e-5-seed-2"]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("org/a@v2+org/x", "org/a@v2+org/x"),
        ({"model": "org/a"}, "org/a"),
        ({"model": {"path": "org/a", "revision": "v2"}, "lora": {"path": "org/x"}}, "org/a@v2+org/x"),
        ({"model": {"model": {"path": "org/a"}}}, "org/a"),
        (None, None),
        ({"kind": "zero"}, None),
    ],
)
def test_a_model_has_one_name_however_it_is_written(written, name):
    assert model_name(written) == name


def test_models_written_as_mappings_are_parents():
    sweep = parse(linear({"model": {"path": "org/a"}}, {"model": {"path": "org/b"}}, base_model="org/a"))
    assert sweep.parent_models == {"base": "org/a", "aligned": "org/b"}
