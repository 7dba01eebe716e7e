"""The registered method `calibration_sweep`: an ordinary merge at a fixed λ."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
from mergekit import merge_methods
from mergekit.merge import run_merge
from mergekit.options import MergeOptions

from mergekit_calib.merging.merge_configuration import configuration
from mergekit_calib.merging.method import register
from mergekit_calib.merging.weights_digest import digest_of


@pytest.fixture(autouse=True)
def _registered():
    register()


def test_the_method_is_registered_once():
    register()
    names = [m.spec.name for m in merge_methods.registered_methods()]
    assert names.count("calibration_sweep") == 1


def test_the_method_merges_state_dicts():
    base, aligned = {"w": torch.zeros(3, 2)}, {"w": torch.ones(3, 2)}
    merged = merge_methods.merge_state_dicts(
        {"b": base, "a": aligned}, "calibration_sweep", base="b", parameters={"lambda": 1.25}
    )
    assert torch.equal(merged["w"], torch.full((3, 2), 1.25))


@pytest.mark.parametrize("method", ["linear", "slerp", "task_arithmetic", "ties", "nuslerp", "multislerp"])
def test_lambda_0_and_1_are_the_parents(method):
    generator = torch.Generator().manual_seed(0)
    base, aligned = ({"w": torch.randn(8, 8, generator=generator)} for _ in range(2))
    for lambda_, parent in ((0.0, base), (1.0, aligned)):
        merged = merge_methods.merge_state_dicts(
            {"b": base, "a": aligned},
            "calibration_sweep",
            base="b",
            parameters={"lambda": lambda_, "method": method},
        )
        torch.testing.assert_close(merged["w"], parent["w"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "plain"),
    [
        ("linear", {"merge_method": "linear", "parameters": {"normalize": False}}),
        ("slerp", {"merge_method": "slerp", "parameters": {"t": 0.6}}),
        ("ties", {"merge_method": "ties", "parameters": {"lambda": 0.6, "weight": 1.0, "density": 0.5}}),
    ],
)
def test_a_recipe_of_the_method_merges_as_the_plain_recipe_does(make_model, tmp_path, method, plain):
    base, aligned = str(make_model(seed=0)), str(make_model(seed=1))
    models = [{"model": base, "parameters": {"weight": 0.4}}, {"model": aligned, "parameters": {"weight": 0.6}}]
    if method != "linear":
        models = [{"model": base}, {"model": aligned}]
    density = {"density": 0.5} if method == "ties" else {}
    ours = {
        "merge_method": "calibration_sweep",
        "base_model": base,
        "models": [{"model": aligned}],
        "parameters": {"lambda": 0.6, "method": method, **density},
    }
    options = MergeOptions(quiet=True)
    run_merge(configuration(ours), str(tmp_path / "ours"), options)
    run_merge(configuration({"base_model": base, "models": models, **plain}), str(tmp_path / "plain"), options)
    assert digest_of(tmp_path / "ours") == digest_of(tmp_path / "plain")


def test_lambda_may_be_a_gradient_over_layers(make_model, tmp_path):
    base, aligned = make_model(seed=0), make_model(seed=1)
    recipe = {
        "merge_method": "calibration_sweep",
        "base_model": str(base),
        "models": [{"model": str(aligned)}],
        "parameters": {"lambda": [0.0, 1.0]},
    }
    run_merge(configuration(recipe), str(tmp_path / "out"), MergeOptions(quiet=True))
    merged, first, second = (
        safetensors.torch.load_file(f / "model.safetensors") for f in (tmp_path / "out", base, aligned)
    )
    name = "model.layers.{}.mlp.up_proj.weight"
    assert torch.equal(merged[name.format(0)], first[name.format(0)])
    assert torch.equal(merged[name.format(3)], second[name.format(3)])


@pytest.mark.parametrize("method", ["calibration_sweep", "passthrough", "model_stock"])
def test_a_method_without_a_coefficient_is_refused(method):
    tensors = {"b": {"w": torch.zeros(2)}, "a": {"w": torch.ones(2)}}
    with pytest.raises(ValueError, match=r"calibration_sweep|no coefficient"):
        merge_methods.merge_state_dicts(
            tensors, "calibration_sweep", base="b", parameters={"lambda": 0.5, "method": method}
        )
