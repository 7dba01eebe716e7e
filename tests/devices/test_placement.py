"""Every tensor is where it is used: while merging, in the live model, in packed steps, the head and generation."""

from __future__ import annotations

import warnings

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from mergekit.options import MergeOptions
from transformers.cache_utils import DynamicCache

from helpers.device_tags import WrongDeviceError
from helpers.prepared_sweeps import short_form
from mergekit_calib.merging import spread_model
from mergekit_calib.merging.device_map import DeviceMap
from mergekit_calib.merging.live_model import LiveModel
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.models import PointModels
from mergekit_calib.merging.tokenizer_choice import TokenizerChoice
from mergekit_calib.prefix_lm import packed
from mergekit_calib.prefix_lm.model import PrefixLM, build_lm
from mergekit_calib.recipe import dump_recipe, parse_sweep

FIRST, SECOND = torch.device("cuda", 0), torch.device("cuda", 1)
EXAMPLES = "A longer context, with some examples.\n" * 3
PAIRS = [("2 + 2 =", " 4"), ("2 + 2 =", " 4 or 5"), ("", "No context."), *[(EXAMPLES, f" {c}") for c in "ABCD"]]
HALVES = {
    "llama": {"model.embed_tokens": 0, "model.rotary_emb": 0, "model.layers.0": 0, "": 1},
    "gemma3": {"": 1, "model.embed_tokens": 0, "lm_head": 0, "model.layers.0": 0},
    "gpt2": {"": 0, "transformer.h.1": 1, "transformer.ln_f": 1},
    "gpt-neox": {"": 0, "gpt_neox.layers.1": 1, "gpt_neox.final_layer_norm": 1},
}


def spread(model, name: str):
    return DeviceMap(HALVES[name], {FIRST: 10**9, SECOND: 10**9}).place(model)


def answers(lm) -> list[float]:
    asked = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(PAIRS)]
    return [score for score, _ in lm.loglikelihood(asked, disable_tqdm=True)]


def generations(lm, **options) -> list[str]:
    settings = {"until": ["\n"], "max_gen_toks": 5, **options}
    asked = [Instance("generate_until", {}, (text, settings), i) for i, text in enumerate(("2 + 2 =", "Once"))]
    return lm.generate_until([instance for instance in asked for _ in range(2)], disable_tqdm=True)


def scorer(model, tokenizer) -> PrefixLM:
    """Return the scorer of a model; an error unless it runs in packed steps."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "User provided device_type")
        lm = build_lm(model, tokenizer, batch_size=2)
    if lm.fallback_reason:
        raise WrongDeviceError(lm.fallback_reason)
    return lm


@pytest.mark.parametrize("method", ["linear", "ties", "slerp", "dare_linear"])
def test_merging_and_the_live_model_on_two_devices_give_the_weights_of_a_cpu(make_model, tmp_path, tags, method):
    register()
    block = {"axes": {"lambda": [0.3, 0.7]}, "suite": ["any"]}
    recipe = short_form(make_model(seed=0), make_model(seed=1), parameters={"method": method}, calibration=block)
    points = list(parse_sweep(dump_recipe(recipe), registered_signatures()).grid())

    def digests(merging: str, device: torch.device) -> list[str]:
        options = MergeOptions(random_seed=1, quiet=True, device=merging)
        models, found = PointModels(options, TokenizerChoice(None), tmp_path, device), []
        for point in points:
            with models.at(point) as ready:
                found.append(ready.digest)
                assert {t.device for t in (*ready.model.parameters(), *ready.model.buffers())} == {device}
        return found

    expected = digests("cpu", torch.device("cpu"))
    before = tags.checked
    assert digests("cuda:0", SECOND) == expected
    assert tags.checked > before


def test_a_spread_model_is_set_where_its_parameters_lie(small_model, tags):
    first, second = small_model("gemma3"), small_model("gemma3")
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(0.5)
    wish = DeviceMap(HALVES["gemma3"], {FIRST: 10**9, SECOND: 10**9})
    live = LiveModel(first.config, first.state_dict().items(), device=FIRST, device_map=wish)
    places = {name: parameter.device for name, parameter in live.model.named_parameters()}
    assert set(places.values()) == {FIRST, SECOND}
    live.set(second.state_dict().items())
    assert {name: parameter.device for name, parameter in live.model.named_parameters()} == places
    assert all(torch.equal(p.cpu(), second.get_parameter(name)) for name, p in live.model.named_parameters())


@pytest.mark.parametrize("halves", [False, True], ids=["one device", "two devices"])
@pytest.mark.parametrize("name", HALVES)
def test_packed_scores_and_generations_on_devices_are_those_of_a_cpu(small_model, tokenizer, tags, name, halves):
    on_cpu = build_lm(small_model(name), tokenizer, batch_size=2)
    expected, texts = answers(on_cpu), generations(on_cpu)
    model = spread(small_model(name), name) if halves else small_model(name).to(SECOND)
    devices = {parameter.device for parameter in model.parameters()}
    assert devices == ({FIRST, SECOND} if halves else {SECOND})
    lm = scorer(model, tokenizer)
    assert lm.batch_limits.step_tokens == 4096  # a GPU's
    assert answers(lm) == pytest.approx(expected, abs=1e-4)
    lm.batch_limits.step_tokens = 7
    assert answers(lm) == pytest.approx(expected, abs=1e-4)
    assert generations(lm) == texts


def test_a_spread_model_is_scored_by_hf_and_searches_with_beams(small_model, tokenizer, tags):
    expected, model = answers(build_lm(small_model("llama"), tokenizer)), spread(small_model("llama"), "llama")
    assert answers(HFLM(pretrained=model, tokenizer=tokenizer, batch_size=2)) == pytest.approx(expected, abs=1e-4)
    beams = {"num_beams": 2, "do_sample": False}
    on_cpu = generations(build_lm(small_model("llama"), tokenizer, batch_size=2), **beams)
    assert generations(scorer(model, tokenizer), **beams) == on_cpu


def test_what_all_layers_are_given_is_copied_once_to_each_device(small_model, tags, monkeypatch):
    model, copied = spread(small_model("gemma3"), "gemma3"), []
    original = spread_model._Copies.on

    def counted(self, device, tensor):
        n = len(self._copies)
        result = original(self, device, tensor)
        copied.extend([tensor.shape] if len(self._copies) > n else [])
        return result

    monkeypatch.setattr(spread_model._Copies, "on", counted)
    model(torch.arange(3, 9, device=FIRST)[None])
    assert 0 < len(copied) < 2 * sum(name.startswith("model.layers") for name, _ in model.named_modules())
    assert len(copied) == len(set(map(id, copied)))


@pytest.mark.parametrize(
    "mutate",
    [
        lambda patch: patch.setattr(packed, "_copied", lambda array, device: torch.from_numpy(array)),
        lambda patch: patch.setattr(packed.PackedRunner, "_to_head", lambda runner, array: runner._to_device(array)),
        lambda patch: patch.setattr(packed, "_device_of", lambda module, otherwise: otherwise),
        lambda patch: patch.setattr(spread_model, "_moved", lambda value, move: value),
        lambda patch: patch.setattr(spread_model._Copies, "on", lambda copies, device, tensor: tensor),
    ],
    ids=["arrays", "rows of the head", "last network", "activations", "masks"],
)
def test_without_one_of_the_moves_packed_scoring_fails(small_model, tokenizer, tags, monkeypatch, mutate):
    answers(scorer(spread(small_model("llama"), "llama"), tokenizer))
    mutate(monkeypatch)
    with pytest.raises(WrongDeviceError):
        answers(scorer(spread(small_model("llama"), "llama"), tokenizer))


def test_without_the_move_of_the_prompts_cache_generation_fails(small_model, tokenizer, tags, monkeypatch):
    select = DynamicCache.batch_select_indices
    monkeypatch.setattr(DynamicCache, "batch_select_indices", lambda cache, rows: select(cache, rows.to(FIRST)))
    with pytest.raises(WrongDeviceError):
        generations(scorer(spread(small_model("llama"), "llama"), tokenizer))
