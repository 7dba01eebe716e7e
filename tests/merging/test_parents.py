"""Checks of models before any weight is loaded, and the tokenizer of a merge."""

from __future__ import annotations

import json
import shutil

import pytest
import safetensors.torch
import torch
import transformers
from mergekit.options import MergeOptions

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.merge_configuration import configuration
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.models import PointModels
from mergekit_calib.merging.parents import check_compatible, check_disk, open_parents
from mergekit_calib.merging.plan import Plan
from mergekit_calib.merging.tokenizer_choice import choose_tokenizer
from mergekit_calib.recipe import dump_recipe, parse_sweep

OPTIONS = MergeOptions(random_seed=0, quiet=True)


def test_a_path_that_does_not_exist_is_an_error():
    with pytest.raises(CalibError, match=r"'\./nowhere/model' does not exist"):
        open_parents(["./nowhere/model"], OPTIONS)


def test_a_model_that_is_not_on_the_hub_is_an_error():
    with pytest.raises(CalibError, match=r"nobody/nothing: no such local folder, and not found on the Hub"):
        open_parents(["nobody/nothing"], OPTIONS)


def test_a_folder_without_a_config_is_an_error(tmp_path):
    with pytest.raises(CalibError, match=r"its config.json cannot be read"):
        open_parents([str(tmp_path)], OPTIONS)


def test_a_missing_shard_is_an_error(make_model, tmp_path):
    folder = shutil.copytree(make_model(seed=0, shard="20KB"), tmp_path / "model")
    sorted(folder.glob("*.safetensors"))[0].unlink()
    with pytest.raises(CalibError, match=r"its index names model-00001"):
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
        check_compatible(parents.values(), OPTIONS, False)
    check_compatible(parents.values(), OPTIONS.model_copy(update={"allow_crimes": True}), False)


def test_a_tensor_of_different_shapes_is_an_error(make_model):
    parents = open_parents([str(make_model(seed=0)), str(make_model(seed=1, intermediate_size=56))], OPTIONS)
    with pytest.raises(CalibError, match=r"tensor model\.layers\.\S+mlp\S+ is \[\d+, \d+\] in .* and \[\d+, \d+\] in"):
        check_compatible(parents.values(), OPTIONS, False)


def test_vocabularies_of_different_size_need_a_tokenizer_setting(make_model):
    parents = open_parents([str(make_model(seed=0)), str(make_model(seed=1, vocab_size=72))], OPTIONS)
    with pytest.raises(CalibError, match=r"tokenizer: {source: union}"):
        check_compatible(parents.values(), OPTIONS, vocabulary_may_differ=False)
    check_compatible(parents.values(), OPTIONS, vocabulary_may_differ=True)


def test_a_tensor_that_mergekit_needs_and_a_model_lacks_is_an_error(make_model, tmp_path):
    folder = shutil.copytree(make_model(seed=0), tmp_path / "model")
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    recipe = {"merge_method": "passthrough", "models": [{"model": str(folder)}]}
    with pytest.raises(CalibError, match=r"has no tensor model.norm.weight"):
        Plan(configuration(recipe), OPTIONS).check_sources()


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


TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.mark.parametrize("method", ["linear", "slerp", "task_arithmetic", "nuslerp"])
@pytest.mark.parametrize("padded_rows", [False, True])
def test_a_merge_has_the_aligned_parents_tokenizer_when_scored_and_when_mergekit_writes_it(
    make_model, tmp_path, method, padded_rows
):
    from mergekit.merge import run_merge

    register()
    rows = {"vocab_size": 80} if padded_rows else {}
    base, aligned = make_model(seed=0, **rows), make_model(seed=1, chat_template=TEMPLATE, **rows)
    if padded_rows:  # a vocabulary smaller than the embeddings, as Qwen's are
        from transformers import AutoTokenizer

        small = AutoTokenizer.from_pretrained(make_model(seed=0))
        base, aligned = (shutil.copytree(p, tmp_path / p.name) for p in (base, aligned))
        small.save_pretrained(base)
        small.chat_template = TEMPLATE
        small.save_pretrained(aligned)
    transformers.GenerationConfig(max_new_tokens=77).save_pretrained(aligned)
    recipe = {
        "merge_method": "calibration_sweep",
        "base_model": str(base),
        "models": [{"model": str(aligned)}],
        "parameters": {"method": method},
        "calibration": {"axes": {"lambda": [0.5]}, "suite": ["any"]},
    }
    sweep = parse_sweep(dump_recipe(recipe), registered_signatures())
    parents = open_parents(sweep.models, OPTIONS)
    choice = choose_tokenizer(sweep, parents, OPTIONS)
    sweep = choice.applied_to(sweep)
    (point,) = sweep.grid()
    models = PointModels(OPTIONS, choice, tmp_path / "scratch", torch.device("cpu"))
    with models.at(point) as ready:
        assert ready.tokenizer.chat_template == TEMPLATE
        assert ready.model.generation_config.max_new_tokens == 77
        digest = ready.digest
    models.write(point, tmp_path / "ours", digest)
    run_merge(configuration(point.recipe), str(tmp_path / "plain"), OPTIONS)
    for folder in (tmp_path / "ours", tmp_path / "plain"):
        assert transformers.AutoTokenizer.from_pretrained(folder).chat_template == TEMPLATE
    written = transformers.GenerationConfig.from_pretrained(tmp_path / "ours")
    assert written.max_new_tokens == 77


def test_tokenizer_settings_of_the_recipe_are_kept(make_model, tmp_path):
    register()
    base, aligned = make_model(seed=0), make_model(seed=1, chat_template=TEMPLATE)
    recipe = {
        "merge_method": "slerp",
        "base_model": str(base),
        "models": [{"model": str(base)}, {"model": str(aligned)}],
        "parameters": {"t": "${lambda}"},
        "chat_template": "chatml",
        "calibration": {"axes": {"lambda": [0.5]}, "suite": ["any"]},
    }
    sweep = parse_sweep(dump_recipe(recipe), registered_signatures())
    parents = open_parents(sweep.models, OPTIONS)
    choice = choose_tokenizer(sweep, parents, OPTIONS)
    assert choice.folder is None
    with PointModels(OPTIONS, choice, tmp_path, torch.device("cpu")).at(next(sweep.grid())) as ready:
        assert "<|im_start|>" in ready.tokenizer.chat_template
