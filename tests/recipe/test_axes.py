"""Axes that stand for several, ranges, and the merge method as an axis: the recipes of their points."""

from __future__ import annotations

import pytest
import yaml

from helpers.mergekit_methods import METHODS
from mergekit_calib.errors import RecipeError
from mergekit_calib.recipe import AXIS_KINDS, Layers, Sweep, parse_sweep, point_id
from mergekit_calib.recipe.axes import read_axis

LAYERS = Layers(5, "model.layers.")


def short(axes: dict, **parameters) -> Sweep:
    recipe = {
        "merge_method": "calibration_sweep",
        "base_model": "org/base",
        "models": [{"model": "org/aligned"}],
        "parameters": parameters,
        "calibration": {"axes": axes, "suite": ["arc_easy"]},
    }
    return parse_sweep(yaml.safe_dump(recipe), METHODS, "sweep.yml").expanded(LAYERS, AXIS_KINDS)


def weight_of_aligned(sweep: Sweep, setting: dict) -> object:
    """Return the aligned parent's weight at a setting."""
    return sweep.point(setting).recipe["models"][-1]["parameters"]["weight"]


def test_blocks_are_a_gradient_with_a_value_for_each_layer():
    sweep = short({"lambda": {"blocks": 2, "min": 0, "max": 1}})
    assert list(sweep.axes) == ["lambda_1", "lambda_2"]
    assert weight_of_aligned(sweep, {"lambda_1": 0.2, "lambda_2": 0.6}) == [
        {"filter": "model.layers.", "value": [0.2, 0.2, 0.2, 0.6, 0.6]},
        {"value": 0.4},
    ]


def test_filters_are_mergekits_filters_and_other_tensors_take_the_mean():
    sweep = short({"lambda": {"filters": ["self_attn", "mlp"], "values": [0, 0.5, 1]}})
    assert weight_of_aligned(sweep, {"lambda_self_attn": 0.5, "lambda_mlp": 1}) == [
        {"filter": "self_attn", "value": 0.5},
        {"filter": "mlp", "value": 1},
        {"value": 0.75},
    ]


def test_blocks_and_filters_together_have_a_value_for_each_pair():
    sweep = short({"lambda": {"blocks": 5, "filters": ["self_attn", "mlp"], "start": 0, "stop": 1, "step": 0.5}})
    assert len(sweep.axes) == 10
    assert list(sweep.axes)[:2] == ["lambda_self_attn_1", "lambda_self_attn_2"]
    setting = {name: 0.1 * i for i, name in enumerate(sweep.axes)}
    attention, mlp, rest, outside = weight_of_aligned(sweep, setting)
    assert attention["value"] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert mlp["value"] == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9])
    assert rest["value"] == pytest.approx([0.25, 0.35, 0.45, 0.55, 0.65])
    assert outside["value"] == pytest.approx(0.45)


def test_both_parents_weights_are_complements_everywhere():
    sweep = short({"lambda": {"blocks": 2, "min": 0, "max": 1}})
    base, aligned = sweep.point({"lambda_1": 0.2, "lambda_2": 0.6}).recipe["models"]
    for mine, theirs in zip(base["parameters"]["weight"], aligned["parameters"]["weight"], strict=True):
        pairs = zip(*([v] if isinstance(v, float) else v for v in (mine["value"], theirs["value"])), strict=True)
        assert all(a + b == pytest.approx(1) for a, b in pairs)


def test_the_parents_are_the_points_with_all_blocks_0_or_1():
    sweep = short({"lambda": {"blocks": 2, "values": [0, 0.5, 1]}})
    base, aligned = sweep.parents()
    assert (base.id, base.axes) == ("base", {"lambda_1": 0.0, "lambda_2": 0.0})
    assert aligned.axes == {"lambda_1": 1.0, "lambda_2": 1.0}
    assert len(list(sweep.grid())) == 9 - 2


def test_another_parameter_can_have_blocks_too():
    sweep = short(
        {"lambda": [0.5], "density": {"blocks": 5, "min": 0.1, "max": 1}}, method="ties", density="${density}"
    )
    recipe = sweep.point({"lambda": 0.5, **{f"density_{i}": i / 10 for i in range(1, 6)}}).recipe
    assert recipe["parameters"]["density"][0]["value"] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert recipe["parameters"]["lambda"] == 0.5


def test_the_method_is_an_axis_and_each_takes_its_own_parameters():
    sweep = short({"lambda": [0.5], "method": ["linear", "slerp", "ties"]}, density=0.3)
    assert sweep.method == "linear, slerp, ties"
    points = {point.recipe["merge_method"]: point for point in sweep.grid()}
    assert points["linear"].recipe["models"][1]["parameters"] == {"weight": 0.5}
    assert points["slerp"].recipe["parameters"] == {"t": 0.5}
    assert points["ties"].recipe["parameters"] == {"lambda": 0.5, "weight": 1.0, "density": 0.3}
    assert points["ties"].id == "lambda=0.5,method=ties"


def test_a_point_is_a_parent_by_the_rules_of_its_own_method():
    sweep = short({"lambda": [0.0, 1.0], "method": ["linear", "ties"]})
    assert [point.id for point in sweep.grid()] == ["lambda=1,method=ties"]


def test_the_general_form_may_name_the_method_by_an_axis():
    recipe = {
        "merge_method": "${method}",
        "models": [{"model": "a", "parameters": {"weight": 1}}, {"model": "b", "parameters": {"weight": "${w}"}}],
        "calibration": {"axes": {"method": ["linear", "ties"], "w": [1, 2]}, "suite": ["x"]},
    }
    sweep = parse_sweep(yaml.safe_dump(recipe), METHODS)
    assert [p.recipe["merge_method"] for p in sweep.grid()] == ["linear", "linear", "ties", "ties"]
    assert sweep.method == "linear, ties"


def test_the_corners_show_every_method_and_both_ends():
    sweep = short({"lambda": {"min": 0.5, "max": 1.5}, "method": ["linear", "slerp"]})
    assert {p.id for p in sweep.corners()} == {
        f"lambda={end},method={method}" for end in ("0.5", "1.5") for method in ("linear", "slerp")
    }


@pytest.mark.parametrize(
    ("axes", "parameters"),
    [
        ({"lambda": [0.0, 0.5, 1.0]}, {}),
        ({"lambda": [0.5, 2.0]}, {}),
        ({"lambda": [0, 1], "density": [0.2, 0.4, 0.6]}, {"method": "ties", "density": "${density}"}),
        ({"lambda": [0.0, 0.5, 1.0], "method": ["linear", "slerp", "ties"]}, {}),
        ({"lambda": {"blocks": 2, "values": [0, 0.5, 1]}, "method": ["linear", "ties"]}, {}),
        ({"density": [0.2, 0.4]}, {"method": "ties", "lambda": 0.5, "density": "${density}"}),
    ],
)
def test_the_points_of_a_grid_are_counted_without_making_them(axes, parameters):
    sweep = short(axes, **parameters)
    assert sweep.n_in_grid == len(list(sweep.grid()))


def test_a_huge_grid_is_counted_at_once():
    assert short({"lambda": {"blocks": 5, "start": 0, "stop": 1.5, "step": 0.001}}).n_in_grid == 1501**5 - 2


def test_a_range_keeps_three_digits_of_its_width():
    assert read_axis({"min": 0, "max": 1.5}).place(0.123456) == 0.123
    assert read_axis({"min": 0.001, "max": 0.002}).place(0.00123456) == 0.001235
    assert read_axis({"min": 0, "max": 1}).place(1.7) == 1


def test_the_id_of_numbered_axes_has_one_name_and_a_list_of_values():
    assert point_id({"lambda_1": 0.25, "lambda_2": 1.0, "w": 3}) == "lambda=[0.25 1],w=3"
    assert point_id({"w_2": 0.25, "w_7": 1.0}) == "w_2=0.25,w_7=1"
    assert point_id({"a_1": 0.25, "b": 1.0}) == "a_1=0.25,b=1"


@pytest.mark.parametrize(
    ("axes", "parameters", "key", "says"),
    [
        ({"lambda": {"blocks": 6, "min": 0, "max": 1}}, {}, "axes.lambda", "the models have 5 layers"),
        ({"lambda": {"blocks": 1, "min": 0, "max": 1}}, {}, "axes.lambda", "without `blocks`"),
        ({"lambda": {"filters": [], "min": 0, "max": 1}}, {}, "axes.lambda", "at least 1 item"),
        ({"lambda": {"filters": ["a.b", "a_b"], "min": 0, "max": 1}}, {}, "axes.lambda", "same axis name"),
        (
            {"lambda": {"blocks": 2, "fitlers": 3, "min": 0, "max": 1}},
            {},
            "axes.lambda",
            "'fitlers' is not an option (did you mean 'filters'?)",
        ),
        ({"lambda": {"min": 1, "max": 0}}, {}, "calibration.axes.lambda", "min 1 is not below max 0"),
        ({"lambda": {"min": 1}}, {}, "calibration.axes.lambda", "min and max"),
        ({"lambda": [0.5, "ties"]}, {}, "calibration.axes.lambda", "cannot be mixed"),
        ({"lambda": ["low", "high"]}, {}, "axes.lambda", "'low' is not a number"),
        ({"lambda": {"blocks": 2, "min": 0, "max": 1}}, {"lambda": [0, "${lambda}"]}, "weight[1]", "several values"),
        ({"lambda": [0.5], "method": ["linear"]}, {"method": "ties"}, "parameters.method", "leave one out"),
        ({"lambda": [0.5], "method": ["linear", "ties"]}, {"densty": 1}, "densty", "did you mean 'density'"),
    ],
)
def test_a_mistake_in_an_axis_is_named(axes, parameters, key, says):
    with pytest.raises(RecipeError) as caught:
        list(short(axes, **parameters).grid())
    assert key in caught.value.key
    assert says in str(caught.value)


def test_blocks_in_a_recipe_with_slices_are_an_error():
    recipe = {
        "merge_method": "linear",
        "slices": [{"sources": [{"model": m, "layer_range": [0, 2], "parameters": {"weight": "${w}"}} for m in "ab"]}],
        "calibration": {"axes": {"w": {"blocks": 2, "min": 0, "max": 1}}, "suite": ["x"]},
    }
    with pytest.raises(RecipeError, match="this recipe has slices"):
        parse_sweep(yaml.safe_dump(recipe), METHODS).expanded(LAYERS, AXIS_KINDS)
