"""Checks of models and of the plans of their merges, before any weight is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from mergekit.options import MergeOptions

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.merge_configuration import configuration
from mergekit_calib.merging.parents import check_architectures, check_disk, open_parents
from mergekit_calib.merging.plan import Plan
from mergekit_calib.merging.plan_checks import check_config, check_shapes, check_sources
from mergekit_calib.recipe.parent_roles import models_named

OPTIONS = MergeOptions(random_seed=0, quiet=True)


def test_a_path_that_does_not_exist_is_an_error():
    with pytest.raises(CalibError, match=r"'\./nowhere/model' does not exist"):
        open_parents(["./nowhere/model"], OPTIONS)


def test_a_model_that_is_not_on_the_hub_is_an_error():
    with pytest.raises(CalibError, match=r"nobody/nothing: no such local folder, and not found on the Hub"):
        open_parents(["nobody/nothing"], OPTIONS)


def test_a_folder_without_a_config_is_an_error(tmp_path):
    with pytest.raises(CalibError, match=r"config.json is missing"):
        open_parents([str(tmp_path)], OPTIONS)


def test_a_missing_shard_is_an_error(make_model, tmp_path):
    folder = shutil.copytree(make_model(seed=0, shard="20KB"), tmp_path / "model")
    sorted(folder.glob("*.safetensors"))[0].unlink()
    with pytest.raises(CalibError, match=r"model-00001\S*, which model.safetensors.index.json names, is missing"):
        open_parents([str(folder)], OPTIONS)


def test_pickles_are_refused_without_lazy_unpickle(make_model, tmp_path):
    folder = shutil.copytree(make_model(seed=0), tmp_path / "model")
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(CalibError, match=r"pickle format.*--lazy-unpickle"):
        open_parents([str(folder)], OPTIONS)
    assert open_parents([str(folder)], OPTIONS.model_copy(update={"lazy_unpickle": True}))


def test_different_architectures_are_an_error_without_allow_crimes(make_model):
    parents = open_parents([str(make_model("llama")), str(make_model("qwen2"))], OPTIONS)
    with pytest.raises(CalibError, match=r"LlamaForCausalLM.*Qwen2ForCausalLM"):
        check_architectures(parents.values(), OPTIONS)
    check_architectures(parents.values(), OPTIONS.model_copy(update={"allow_crimes": True}))


def check(recipe: dict[str, Any], options: MergeOptions = OPTIONS) -> None:
    """Check the plan of a recipe against the files of its models."""
    models = open_parents(list(models_named(recipe)), options)
    plan = Plan(configuration(recipe), options)
    check_sources(plan, options)
    check_shapes(plan, models, options)
    check_config(plan)


def linear(*models: Path, **keys: Any) -> dict[str, Any]:
    inputs = [{"model": str(model), "parameters": {"weight": 0.5}} for model in models]
    return {"merge_method": "linear", "models": inputs, **keys}


def stack(*parts: tuple[Path, list[int]], **keys: Any) -> dict[str, Any]:
    slices = [{"sources": [{"model": str(model), "layer_range": layers}]} for model, layers in parts]
    return {"merge_method": "passthrough", "slices": slices, **keys}


def test_a_tensor_of_different_shapes_is_an_error(make_model):
    models = make_model(seed=0), make_model(seed=1, intermediate_size=56)
    with pytest.raises(CalibError, match=r"tensor model\.layers\.\S+mlp\S+ is \[\d+, \d+\] in .* and \[\d+, \d+\] in"):
        check(linear(*models, base_model=str(models[0])))
    check(linear(*models, base_model=str(models[0])), OPTIONS.model_copy(update={"allow_crimes": True}))


@pytest.mark.parametrize(
    "setting", [{"tokenizer": {"source": "union"}}, {"tokenizer": {}}, {"tokenizer_source": "base"}]
)
def test_vocabularies_of_different_size_need_a_tokenizer_setting(make_model, setting):
    models = make_model(seed=0), make_model(seed=1, vocab_size=72)
    with pytest.raises(CalibError, match=r"tokenizer: {source: union}"):
        check(linear(*models, base_model=str(models[0])))
    check(linear(*models, base_model=str(models[0]), **setting))


def test_layers_of_a_model_with_another_vocabulary_can_be_stacked(make_model):
    small, large = make_model(seed=0), make_model(seed=1, vocab_size=72)
    parts = (small, [0, 2]), (large, [1, 3]), (small, [2, 4])
    check(stack(*parts, base_model=str(small)))
    with pytest.raises(CalibError, match=r"embed_tokens.weight of .* has 64 tokens, and the merged model's config 72"):
        check(stack(*parts, base_model=str(large)))


def test_a_tensor_that_mergekit_needs_and_a_model_lacks_is_an_error(make_model, tmp_path):
    folder = shutil.copytree(make_model(seed=0), tmp_path / "model")
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CalibError, match=r"has no tensor model.norm.weight"):
        check({"merge_method": "passthrough", "models": [{"model": str(folder)}]})


def test_a_config_that_cannot_be_saved_is_an_error(make_model):
    model = make_model("qwen2")
    check(stack((model, [0, 2]), (model, [2, 4])))
    with pytest.raises(CalibError, match=r"cannot save the merged model's config: .*num_hidden_layers"):
        check(stack((model, [0, 3]), (model, [1, 4])))


def test_a_recipe_that_mergekit_cannot_plan_is_an_error(make_model):
    with pytest.raises(CalibError, match=r"mergekit cannot plan this recipe: .*requires a base"):
        check({**linear(make_model(seed=0), make_model(seed=1)), "merge_method": "ties"})


def test_too_little_disk_space_is_an_error(tmp_path):
    with pytest.raises(CalibError, match=r"needs about \d+\.\d GB of disk, and \d+\.\d GB are free"):
        check_disk(tmp_path / "out", 10**18)


def test_the_fingerprint_changes_with_the_weights_and_the_configuration(make_model, tmp_path):
    folder = shutil.copytree(make_model(seed=0), tmp_path / "model")

    def fingerprint() -> str:
        return open_parents([str(folder)], OPTIONS)[str(folder)].fingerprint

    first = fingerprint()
    assert fingerprint() == first
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "rope_theta": 500.0}))
    second = fingerprint()
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] += 1
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert len({first, second, fingerprint()}) == 3
