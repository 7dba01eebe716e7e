"""How far parents differ, tensor by tensor, and which share of the difference each axis controls."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
from mergekit.options import MergeOptions

from mergekit_calib.merging.difference import difference_norms, importance, layers_of
from mergekit_calib.merging.models import PointModels
from mergekit_calib.merging.parents import open_parents
from mergekit_calib.merging.tokenizer_choice import TokenizerChoice
from mergekit_calib.recipe import AXIS_KINDS, Blocks, Layers, MethodSignature, parse_sweep
from mergekit_calib.recipe.axes import read_axis


@pytest.mark.parametrize("architecture", ["llama", "qwen3-moe"])
def test_layers_are_counted_and_the_prefix_of_their_tensors_names_is_found(make_model, architecture):
    (model,) = open_parents([str(make_model(architecture))], MergeOptions()).values()
    assert layers_of(model) == Layers(4, "model.layers.")


def test_there_is_a_norm_of_the_difference_for_each_tensor(make_model):
    base, aligned = open_parents([str(make_model(seed=0)), str(make_model(seed=1))], MergeOptions()).values()
    norms = difference_norms(base, aligned)
    of_base, of_aligned = (safetensors.torch.load_file(m.folder / "model.safetensors") for m in (base, aligned))
    assert norms.keys() == of_base.keys()
    for name, norm in norms.items():
        assert norm == pytest.approx(float((of_aligned[name].float() - of_base[name].float()).norm()), rel=1e-5)


def test_the_importance_of_an_axis_is_how_far_the_parents_differ_in_its_tensors():
    norms = {
        "model.embed_tokens.weight": 0.0,
        "model.layers.0.self_attn.q_proj.weight": 1.0,
        "model.layers.1.self_attn.q_proj.weight": 0.0,
        "model.layers.2.mlp.up_proj.weight": 4.0,
        "model.layers.3.mlp.up_proj.weight": 3.0,
    }
    axis = read_axis({"blocks": 2, "filters": ["self_attn", "mlp"], "min": 0, "max": 1})
    layers = Layers(4, "model.layers.")
    expansion = Blocks(**axis.kind_options).expand("x", axis, layers)
    shares = importance(expansion, layers, norms)
    assert shares == pytest.approx({"x_self_attn_1": 0.2, "x_self_attn_2": 0.0, "x_mlp_1": 0.0, "x_mlp_2": 1.0})


def test_the_same_value_in_all_blocks_gives_the_weights_of_a_single_axis(make_model, tmp_path):
    base, aligned = str(make_model(seed=0)), str(make_model(seed=1))
    methods = {"linear": MethodSignature("linear", frozenset({"normalize"}), frozenset({"weight"}), ignores_base=True)}
    options = MergeOptions(quiet=True, random_seed=0)
    models = PointModels(options, TokenizerChoice(None), tmp_path, torch.device("cpu"))

    def digest(axis: dict, value: float) -> str:
        text = (
            f"merge_method: calibration_sweep\nbase_model: {base}\nmodels: [{{model: {aligned}}}]\n"
            f"dtype: bfloat16\ncalibration: {{axes: {{lambda: {axis}}}, suite: [x]}}"
        )
        sweep = parse_sweep(text, methods).expanded(Layers(4, "model.layers."), AXIS_KINDS)
        with models.at(sweep.point(dict.fromkeys(sweep.axes, value))) as ready:
            return ready.digest

    blocks = {"blocks": 3, "filters": ["self_attn", "mlp"], "min": 0, "max": 1}
    assert digest(blocks, 0.3) == digest({"min": 0, "max": 1}, 0.3)
