"""The weights that are scored are the weights that `mergekit-yaml` writes, bit for bit."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
from lm_eval.models.huggingface import HFLM
from mergekit import merge_methods
from mergekit.merge import run_merge
from mergekit.options import MergeOptions

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.merge_configuration import configuration
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.models import PointModels
from mergekit_calib.merging.parents import apply_adapters, open_parents
from mergekit_calib.merging.tokenizer_choice import TokenizerChoice, choose_tokenizer
from mergekit_calib.merging.weights_digest import WeightsError, digest_of
from mergekit_calib.prefix_lm.model import build_lm
from mergekit_calib.recipe import Sweep, dump_recipe, parse_sweep

SEED = 7
PICKLE = "pytorch_model.bin"
TEMPLATE = "{{ messages[0].content }}"


def sweep_of(recipe: dict[str, Any], axes: dict[str, list[float]]) -> Sweep:
    register()
    text = dump_recipe({**recipe, "calibration": {"axes": axes, "suite": ["any"]}})
    return parse_sweep(text, registered_signatures())


def short_form(base: Path, aligned: Path | str, method: str = "linear", dtype: str | None = None, **parameters: float):
    recipe = {
        "merge_method": "calibration_sweep",
        "base_model": str(base),
        "models": [{"model": str(aligned)}],
        "parameters": {"method": method, **parameters},
    }
    return sweep_of({**recipe, **({"dtype": dtype} if dtype else {})}, {"lambda": [0.0, 0.3, 1.0, 1.4]})


def assert_scored_is_written(sweep: Sweep, tmp_path: Path, dtype: str | None = None, **options: Any) -> PointModels:
    """Compare every point of `sweep` on the live model with a plain `mergekit` run of its recipe."""
    options = MergeOptions(random_seed=SEED, quiet=True, **options)
    parents = open_parents(sweep.models, options)
    apply_adapters(parents.values(), options)
    choice = choose_tokenizer(sweep, parents, options)
    sweep = choice.applied_to(sweep)
    models = PointModels(options, choice, tmp_path / "scratch", torch.device("cpu"), dtype)
    for i, point in enumerate([*sweep.parents(), *sweep.grid()]):
        with models.at(point) as ready:
            folder = tmp_path / f"written-{i}"
            run_merge(configuration(point.recipe), str(folder), options)
            assert digest_of(folder) == ready.digest, point.id
            written = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype or "auto")
            expected, scored = written.state_dict(), ready.model.state_dict()
            assert expected.keys() == scored.keys()
            different = [name for name in expected if not torch.equal(expected[name], scored[name])]
            assert not different, (point.id, different)
            text = torch.arange(4, 24).reshape(2, 10)
            with torch.no_grad():
                assert torch.equal(written(input_ids=text).logits, ready.model(input_ids=text).logits)
    return models


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("linear", {}),
        ("slerp", {}),
        ("task_arithmetic", {}),
        ("ties", {"density": 0.5}),
        ("dare_ties", {"density": 0.6}),
        ("dare_linear", {"density": 0.4}),
        ("breadcrumbs", {"density": 0.7, "gamma": 0.05}),
        ("della", {"density": 0.5, "epsilon": 0.1}),
        ("nuslerp", {}),
    ],
)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_every_method_scores_what_it_writes(make_model, tmp_path, method, parameters, dtype):
    base, aligned = make_model(seed=0, dtype=dtype), make_model(seed=1, dtype=dtype)
    assert_scored_is_written(short_form(base, aligned, method, dtype, **parameters), tmp_path)


@pytest.mark.parametrize("architecture", ["llama-tied", "qwen2", "qwen3", "gemma3-multimodal", "mixtral", "qwen3-moe"])
def test_every_architecture_scores_what_it_writes(make_model, tmp_path, architecture):
    base, aligned = make_model(architecture, seed=0), make_model(architecture, seed=1)
    assert_scored_is_written(short_form(base, aligned, dtype="bfloat16"), tmp_path)


def of_three(models: list[Path | str], method: str) -> dict[str, Any]:
    """Return a recipe with a base model and two others, of which one has a weight on the axis `w`."""
    base, *others = map(str, models)
    weights = dict(zip(others, ("${w}", -0.3), strict=True))
    inputs = [{"model": model, "parameters": {"weight": weight, "density": 0.5}} for model, weight in weights.items()]
    return {"merge_method": method, "base_model": base, "models": inputs, "dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("architecture", "method"),
    [("llama", "ties"), ("llama", "della_linear"), ("mixtral", "dare_ties"), ("gemma3-multimodal", "dare_linear")],
)
def test_recipes_of_three_models_score_what_they_write(make_model, tmp_path, architecture, method):
    # A chat template in one of them asks for a tokenizer, whose tasks change the order in which tensors are merged.
    models = [make_model(architecture, seed=seed, chat_template=TEMPLATE if seed == 1 else None) for seed in range(3)]
    assert_scored_is_written(sweep_of(of_three(models, method), {"w": [0.4, 1.2]}), tmp_path)


@pytest.mark.parametrize(
    ("method", "parameters", "values"),
    [
        ("model_stock", {"filter_wise": "${x}"}, [0, 1]),
        ("sce", {"select_topk": "${x}"}, [0.2, 1.0]),
        ("karcher", {"max_iter": "${x}"}, [1, 5]),
        ("ramplus_tl", {"r": "${x}", "alpha": 0.2, "epsilon": 1e-5}, [0.1, 0.4]),
    ],
)
@pytest.mark.parametrize("through", ["models", "modules"])
def test_methods_of_three_models_score_what_they_write(make_model, tmp_path, method, parameters, values, through):
    models = [str(make_model(seed=seed)) for seed in range(3)]
    inputs: dict[str, Any] = {"models": [{"model": model} for model in models]}
    if through == "modules":
        sources = [{"model": model, "layer_range": [0, 4]} for model in models]
        inputs = {"modules": {"default": {"slices": [{"sources": sources}]}}}
    base = {} if method == "karcher" else {"base_model": models[0]}
    recipe = {"merge_method": method, **base, **inputs, "parameters": parameters, "dtype": "bfloat16"}
    assert_scored_is_written(sweep_of(recipe, {"x": values}), tmp_path)


def test_a_self_stack_scores_what_it_writes(make_model, tmp_path):
    model = str(make_model(seed=0))
    first, second = ({"model": model, "layer_range": layers} for layers in ([0, 3], [1, 4]))
    second["parameters"] = {"scale": [{"filter": "down_proj", "value": "${scale}"}, {"value": 1.0}]}
    slices = [{"sources": [part]} for part in (first, second)]
    recipe = {"merge_method": "passthrough", "slices": slices, "dtype": "bfloat16"}
    assert_scored_is_written(sweep_of(recipe, {"scale": [0.0, 0.5]}), tmp_path)


def test_sharded_checkpoints_score_what_they_write(make_model, tmp_path):
    base, aligned = make_model(seed=0, shard="20KB"), make_model(seed=1, shard="30KB")
    assert len(list(base.glob("*.safetensors"))) > 2
    assert_scored_is_written(short_form(base, aligned), tmp_path)


def test_checkpoints_may_be_written_as_pickles(make_model, tmp_path):
    assert_scored_is_written(short_form(make_model(seed=0), make_model(seed=1)), tmp_path, safe_serialization=False)


def test_tensors_that_are_not_contiguous_are_scored_like_others(make_model, tmp_path):
    folders = []
    for seed in (0, 1):
        folder = shutil.copytree(make_model(seed=seed), tmp_path / str(seed))
        tensors = safetensors.torch.load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        torch.save({n: t.t().contiguous().t() if t.ndim == 2 else t for n, t in tensors.items()}, folder / PICKLE)
        folders.append(folder)
    sweep = short_form(*folders)
    assert_scored_is_written(sweep, tmp_path, lazy_unpickle=True)


def test_models_that_compute_in_another_dtype_hold_the_written_values(make_model, tmp_path):
    base, aligned = make_model("gemma3-multimodal", seed=0), make_model("gemma3-multimodal", seed=1)
    assert_scored_is_written(short_form(base, aligned, dtype="bfloat16"), tmp_path, dtype="float32")


def save_adapter(base: Path, folder: Path, seed: int) -> str:
    """Save a LoRA of `base` with weights drawn from `seed`; return it as recipes name it."""
    import peft

    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q_proj", "down_proj"]))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.1)
    adapted.save_pretrained(folder)
    return f"{base}+{folder}"


def test_a_lora_is_a_parent_like_any_other(make_model, tmp_path):
    base = make_model(seed=0)
    sweep = short_form(base, save_adapter(base, tmp_path / "adapter", 0), dtype="bfloat16")
    assert_scored_is_written(sweep, tmp_path, lora_merge_cache=str(tmp_path / "cache"))


def test_several_loras_of_one_base_are_parents(make_model, tmp_path):
    base = make_model(seed=0)
    adapters = [save_adapter(base, tmp_path / f"adapter-{seed}", seed) for seed in (1, 2)]
    sweep = sweep_of(of_three([base, *adapters], "task_arithmetic"), {"w": [0.6]})
    assert list(sweep.parent_models) == ["base", "adapter-1", "adapter-2"]
    assert_scored_is_written(sweep, tmp_path, lora_merge_cache=str(tmp_path / "cache"))


def test_an_incomplete_merged_adapter_of_a_killed_run_is_made_again(make_model, tmp_path):
    import peft

    base = make_model(seed=0)
    adapted = peft.get_peft_model(
        transformers.AutoModelForCausalLM.from_pretrained(base), peft.LoraConfig(r=2, target_modules=["q_proj"])
    )
    adapted.save_pretrained(tmp_path / "adapter")
    options = MergeOptions(lora_merge_cache=str(tmp_path / "cache"))
    parents = open_parents([f"{base}+{tmp_path / 'adapter'}"], options).values()
    apply_adapters(parents, options)
    (merged,) = [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]
    next(merged.glob("*.safetensors")).unlink()
    next((tmp_path / "cache").glob("*.whole")).unlink()
    apply_adapters(parents, options)
    assert list(merged.glob("*.safetensors"))


def test_gradients_and_filters_score_what_they_write(make_model, tmp_path):
    base, aligned = make_model(seed=0), make_model(seed=1)
    recipe = {
        "merge_method": "slerp",
        "base_model": str(base),
        "models": [{"model": str(base)}, {"model": str(aligned)}],
        "parameters": {
            "t": [
                {"filter": "self_attn", "value": [0, "${lambda}", 1]},
                {"filter": "mlp", "value": ["${1 - lambda}", 0.5]},
                {"value": "${lambda}"},
            ]
        },
        "dtype": "bfloat16",
    }
    assert_scored_is_written(sweep_of(recipe, {"lambda": [0.2, 0.8]}), tmp_path)


def test_slices_that_change_the_depth_go_through_the_disk(make_model, tmp_path):
    base, aligned = make_model(seed=0), make_model(seed=1)
    recipe = {
        "merge_method": "passthrough",
        "slices": [
            {"sources": [{"model": str(base), "layer_range": [0, "${cut}"]}]},
            {"sources": [{"model": str(aligned), "layer_range": [1, 4]}]},
        ],
        "dtype": "bfloat16",
    }
    assert_scored_is_written(sweep_of(recipe, {"cut": [1, 2, 3]}), tmp_path)
    assert not list((tmp_path / "scratch").iterdir())


def test_a_point_that_goes_through_the_disk_has_the_aligned_parents_generation_config(make_model, tmp_path):
    base, aligned = make_model(seed=0), make_model(seed=1, chat_template="{{ messages[0].content }}")
    parts = [{"model": str(base), "layer_range": [0, 2]}, {"model": str(aligned), "layer_range": [1, "${end}"]}]
    slices = [{"sources": [part]} for part in parts]
    sweep = sweep_of(
        {"merge_method": "passthrough", "base_model": str(base), "slices": slices, "dtype": "bfloat16"}, {"end": [4]}
    )
    donor = tmp_path / "aligned"
    shutil.copytree(aligned, donor)
    transformers.GenerationConfig(max_new_tokens=7).save_pretrained(donor)
    options = MergeOptions(random_seed=SEED, quiet=True)
    models = PointModels(options, TokenizerChoice(donor), tmp_path / "scratch", torch.device("cpu"))
    (point,) = sweep.grid()
    with models.at(point) as ready:
        assert ready.tokenizer.chat_template == "{{ messages[0].content }}"
        assert ready.model.generation_config.max_new_tokens == 7
        assert ready.model.config.num_hidden_layers == 5


def test_a_union_of_vocabularies_goes_through_the_disk(make_model, tmp_path):
    base, aligned = make_model(seed=0), make_model(seed=1, vocab_size=72)
    recipe = {
        "merge_method": "linear",
        "models": [
            {"model": str(base), "parameters": {"weight": "${1 - lambda}"}},
            {"model": str(aligned), "parameters": {"weight": "${lambda}"}},
        ],
        "tokenizer": {"source": "union"},
        "dtype": "bfloat16",
    }
    options = MergeOptions(random_seed=SEED, quiet=True)
    sweep = sweep_of(recipe, {"lambda": [0.5]})
    parents = open_parents(sweep.models, options)
    choice = choose_tokenizer(sweep, parents, options)
    models = PointModels(options, choice, tmp_path / "scratch", torch.device("cpu"))
    (point,) = sweep.grid()
    folders = [tmp_path / "first", tmp_path / "second"]
    with models.at(point) as ready:
        scored = _logits_by_token(ready.model, ready.tokenizer)
        digest = ready.digest
    assert not list((tmp_path / "scratch").iterdir())
    for folder in folders:  # mergekit numbers the added tokens in no fixed order, so two runs' files differ
        models.write(point, folder, digest)
        written = transformers.AutoModelForCausalLM.from_pretrained(folder)
        torch.testing.assert_close(
            _logits_by_token(written, transformers.AutoTokenizer.from_pretrained(folder)), scored
        )
    with pytest.raises(CalibError, match="are not the ones that were scored"):
        models.write(replace(point, recipe={**point.recipe, "dtype": "float32"}), tmp_path / "other", digest)


def _logits_by_token(model, tokenizer) -> dict[str, torch.Tensor]:
    """Return token → its logit after a few tokens that both parents have, whatever the tokens' ids."""
    vocabulary = tokenizer.get_vocab()
    shared = sorted(vocabulary)[4:12]
    with torch.no_grad():
        logits = model(torch.tensor([[vocabulary[token] for token in shared]])).logits[0, -1]
    return {token: logits[number] for token, number in vocabulary.items()}


def test_a_third_partys_method_is_swept_like_mergekits_own(make_model, tmp_path):
    @merge_methods.merge_method(name="test_midpoint")
    def midpoint(group: merge_methods.TensorGroup, t: float) -> torch.Tensor:
        a, b = group.tensors
        return a + t * t * (b - a)

    if "test_midpoint" not in registered_signatures():
        merge_methods.register(midpoint)
    assert_scored_is_written(short_form(make_model(seed=0), make_model(seed=1), "test_midpoint"), tmp_path)


def test_weights_that_are_not_finite_are_an_error(make_model, tmp_path):
    base, aligned = make_model(seed=0), make_model(seed=1)
    sweep = sweep_of(
        {
            "merge_method": "task_arithmetic",
            "base_model": str(base),
            "models": [{"model": str(aligned), "parameters": {"weight": "${scale}"}}],
            "dtype": "bfloat16",
        },
        {"scale": [1.0, 1e39]},
    )
    with pytest.raises(WeightsError, match=r"holds NaN or infinity"):
        assert_scored_is_written(sweep, tmp_path)


def test_points_of_an_axis_that_changes_nothing_have_one_digest(make_model, tmp_path):
    base, aligned = make_model(seed=0), make_model(seed=1)
    recipe = {
        "merge_method": "ties",
        "base_model": str(base),
        "models": [{"model": str(aligned), "parameters": {"weight": "${lambda}"}}],
    }
    sweep = sweep_of(recipe, {"lambda": [0.25, 0.5]})
    options = MergeOptions(random_seed=0, quiet=True)
    parents = open_parents(sweep.models, options)
    choice = choose_tokenizer(sweep, parents, options)
    models = PointModels(options, choice, tmp_path, torch.device("cpu"))
    digests = set()
    for point in sweep.grid():
        with models.at(point) as ready:
            digests.add(ready.digest)
    assert len(digests) == 1


@pytest.mark.parametrize("add_bos_token", [True, False, None])
def test_prompts_are_tokenised_as_in_lm_evals_hf(make_model, tmp_path, add_bos_token):
    base, aligned = make_model(seed=0), make_model(seed=1)
    sweep = short_form(base, aligned)
    options = MergeOptions(random_seed=SEED, quiet=True)
    models = PointModels(options, TokenizerChoice(aligned), tmp_path, torch.device("cpu"), add_bos_token=add_bos_token)
    given = {} if add_bos_token is None else {"add_bos_token": add_bos_token}
    theirs = HFLM(str(aligned), device="cpu", dtype="float32", **given)
    with models.at(next(sweep.grid())) as ready:
        ours = build_lm(ready.model, ready.tokenizer, model_args=given)
    for text in ("w5 w6", "w7"):
        assert ours.tok_encode(text) == theirs.tok_encode(text)
        assert ours._encode_pair(text, " w9") == theirs._encode_pair(text, " w9")
        assert ours.tokenizer(text).input_ids == theirs.tokenizer(text).input_ids
    assert (ours.tok_encode("w5")[0] == theirs.tokenizer.bos_token_id) is bool(add_bos_token)


def test_the_order_of_tokens_is_read_with_trust_remote_code(make_model, monkeypatch):
    trusted = []
    load = transformers.AutoTokenizer.from_pretrained

    def from_pretrained(folder, trust_remote_code=False, **options):
        trusted.append(trust_remote_code)
        return load(folder, **options)

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", from_pretrained)
    digest_of(make_model(seed=0), {"lm_head.weight": 0}, trust_remote_code=True)
    assert trusted == [True]
