"""What nothing but a GPU can show. `tests/gpu/run.sh` runs it; on the CPU the same lines are rehearsed."""

from __future__ import annotations

import contextlib

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from mergekit.options import MergeOptions

from helpers.prepared_sweeps import short_form
from mergekit_calib.merging.device_map import DeviceMap
from mergekit_calib.merging.live_model import LiveModel
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.models import PointModels
from mergekit_calib.merging.tokenizer_choice import TokenizerChoice
from mergekit_calib.prefix_lm.model import build_lm
from mergekit_calib.prefix_lm.packed import PackedRunner
from mergekit_calib.recipe import dump_recipe, parse_sweep

pytestmark = pytest.mark.gpu

EXAMPLES = "A longer context, with some examples before its question.\n" * 4
PAIRS = [("2 + 2 =", " 4"), ("2 + 2 =", " 4 or 5"), ("", "No context."), *[(EXAMPLES, f" {c}") for c in "ABCD"]]
ARCHITECTURES = ["llama", "gemma3", "qwen2", "mixtral", "gpt2", "gpt-neox"]


def answers(lm) -> list[float]:
    asked = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(PAIRS)]
    return [score for score, _ in lm.loglikelihood(asked, disable_tqdm=True)]


def generations(lm) -> list[str]:
    settings = {"until": ["\n"], "max_gen_toks": 8}
    asked = [Instance("generate_until", {}, (text, settings), i) for i, text in enumerate(("2 + 2 =", EXAMPLES))]
    return lm.generate_until([instance for instance in asked for _ in range(4)], disable_tqdm=True)


def packed(model, tokenizer):
    lm = build_lm(model, tokenizer, batch_size=4)
    assert lm.fallback_reason is None
    return lm


@pytest.mark.parametrize("method", ["linear", "slerp", "ties", "dare_ties", "task_arithmetic"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_merges_on_the_device_are_bit_identical_to_mergekits(make_model, tmp_path, device, method, dtype):
    register()
    block = {"axes": {"lambda": [0.3, 0.7]}, "suite": ["any"]}
    recipe = short_form(
        make_model(seed=0), make_model(seed=1), dtype=dtype, parameters={"method": method}, calibration=block
    )
    options = MergeOptions(random_seed=1, quiet=True, device=str(device))
    models = PointModels(options, TokenizerChoice(None), tmp_path / "scratch", device)
    for i, point in enumerate(parse_sweep(dump_recipe(recipe), registered_signatures()).grid()):
        with models.at(point) as ready:
            assert {t.device for t in (*ready.model.parameters(), *ready.model.buffers())} == {device}
            models.write(point, tmp_path / str(i), ready.digest)  # which compares the digests


def test_the_live_model_in_bfloat16_is_set_in_place(small_model, device):
    first, second = small_model("llama", torch.bfloat16), small_model("llama", torch.bfloat16)
    for parameter in second.parameters():
        parameter.mul_(0.5)
    live = LiveModel(first.config, first.state_dict().items(), device=device)
    places = {name: parameter.data_ptr() for name, parameter in live.model.named_parameters()}
    digest = live.set(second.state_dict().items())
    assert {name: parameter.data_ptr() for name, parameter in live.model.named_parameters()} == places
    assert all(torch.equal(p.cpu(), second.get_parameter(name)) for name, p in live.model.named_parameters())
    on_device = {name: tensor.to(device) for name, tensor in second.state_dict().items()}
    assert live.set(on_device.items()) == digest


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 0.5)])
def test_packed_scores_are_those_of_hf(small_model, tokenizer, device, name, dtype, tolerance):
    model = small_model(name, dtype).to(device)
    plain = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, softmax_dtype="float32")
    assert answers(packed(model, tokenizer)) == pytest.approx(answers(plain), abs=tolerance)


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2"])
def test_greedy_generations_are_those_of_hf(small_model, tokenizer, device, name):
    model = small_model(name).to(device)
    assert generations(packed(model, tokenizer)) == generations(
        HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1)
    )


def test_every_tensor_that_the_model_is_given_is_on_the_device(small_model, tokenizer, device):
    model = small_model("gemma3").to(device)
    lm, seen = packed(model, tokenizer), []

    def look(_, args, kwargs) -> None:
        masks = kwargs.get("attention_mask")
        given = [*args, *kwargs.values(), *(masks.values() if isinstance(masks, dict) else [])]
        seen.extend(value.device for value in given if isinstance(value, torch.Tensor))

    for module in model.modules():
        module.register_forward_pre_hook(look, with_kwargs=True)
    answers(lm)
    generations(lm)
    assert set(seen) == {device}


@contextlib.contextmanager
def memory_for(n_bytes: int, device: torch.device, monkeypatch):
    """Leave `n_bytes` of the device's memory to allocate; in a rehearsal, steps above 40 tokens fail instead."""
    if device.type != "cuda":
        original = PackedRunner._hidden

        def fails(runner, step):
            if len(step.tokens) > 40:
                raise torch.cuda.OutOfMemoryError("a rehearsal")
            return original(runner, step)

        monkeypatch.setattr(PackedRunner, "_hidden", fails)
        yield
        return
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(device) + n_bytes) / total, device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def test_steps_are_halved_until_they_fit_into_memory(small_model, tokenizer, device, monkeypatch):
    model = small_model("llama").to(device)
    lm = packed(model, tokenizer)
    # Many branches, so that a step has 4,096 tokens: the mask alone is 64 MiB, and there is more.
    pairs = [(f"{EXAMPLES}{i}", f" {i} and so on, to the end") for i in range(300)]
    asked = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    expected = lm.loglikelihood(asked, disable_tqdm=True)
    before = lm.batch_limits.step_tokens
    with memory_for(64 * 2**20, device, monkeypatch):
        again = lm.loglikelihood(asked, disable_tqdm=True)
    assert lm.batch_limits.step_tokens < before
    assert [score for score, _ in again] == pytest.approx([score for score, _ in expected], abs=1e-3)


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_a_model_over_two_devices_scores_and_generates_as_on_one(small_model, tokenizer, two_devices, name):
    first, second = two_devices
    alone = packed(small_model(name).to(first), tokenizer)
    model = small_model(name)
    n_bytes = sum(p.numel() * p.element_size() for p in model.parameters())
    model = DeviceMap("auto", {first: int(0.95 * n_bytes), second: int(0.8 * n_bytes)}).place(model)
    assert {parameter.device for parameter in model.parameters()} == {first, second}
    spread = packed(model, tokenizer)
    assert answers(spread) == pytest.approx(answers(alone), abs=1e-3)
    assert generations(spread) == generations(alone)
