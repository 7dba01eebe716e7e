"""How fast a device scores, generates and merges: measured on this machine, or from a device's published figures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import torch
import transformers

from mergekit_calib.merging.fast_linear import WeightedSum
from mergekit_calib.merging.memory import free_memory
from mergekit_calib.merging.weights_digest import Digest
from mergekit_calib.prefix_lm.onednn_products import faster_product
from mergekit_calib.prefix_lm.packed import PackedRunner
from mergekit_calib.prefix_lm.prefix_tree import TokenRequests
from mergekit_calib.prefix_lm.step_times import measured_rates
from mergekit_calib.prefix_lm.work import ModelWork, work_of
from mergekit_calib.sweep.cost.gpu_table import BANDWIDTH_SHARE, HOST_LINK, SECONDS_PER_LAYER, UTILISATION, Gpu
from mergekit_calib.sweep.cost.random_model import RandomModel, random_model
from mergekit_calib.sweep.cost.suite_work import Batch

_MEASURED = 2.5  # seconds of packed steps
_SHARE = 0.6  # of the rate of matrix products that packed steps reach on a CPU (tests/benchmarks/README.md)
_SHARE_ALONE = 0.3  # the same without shared prefixes, in short batches; assumed
_GENERATED = (2, 8)  # tokens; the difference of the times is that of six steps
_NUMBERS = 1 << 22  # of the tensors whose merge is timed
_OTHER_METHODS = 10.0  # how many times as long as `linear` another merge method takes; assumed


@dataclass(frozen=True)
class Rates:
    """How fast a device works.

    Attributes:
        body: floating-point operations a second in the model's body.
        head: the same in the output head.
        least_step: the least seconds of a forward pass over packed tokens.
        decode_step: seconds of a step that generates one token of each answer of the largest batch; 0 without answers.
        merge: seconds to set one number of the live model.
        basis: what the rates are based on, in a sentence.
    """

    body: float
    head: float
    least_step: float
    decode_step: float
    merge: float
    basis: str


def rates_of_gpu(gpu: Gpu, dtype: torch.dtype, work: ModelWork, layers: int, batches: Sequence[Batch]) -> Rates:
    """Return the rates of a device of the table.

    Args:
        gpu: the device.
        dtype: the dtype that models are scored in.
        work: the operations of the model.
        layers: its number of layers.
        batches: the batches in which answers are generated.
    """
    peak = gpu.rate(dtype)
    decode = 0.0
    if batches:
        rows = max(batch.rows for batch in batches)
        reading = work.n_active * dtype.itemsize / (BANDWIDTH_SHARE * 1e12 * gpu.bandwidth)
        decode = max(reading, 2 * work.n_active * rows / (UTILISATION * peak)) + SECONDS_PER_LAYER * layers
    name = str(dtype).removeprefix("torch.")
    basis = (
        f"{gpu.title}: {peak / 1e12:g} TFLOP/s in {name} on paper, of which {UTILISATION:.0%} are assumed, and at "
        f"least {1e3 * SECONDS_PER_LAYER:g} ms a layer and step. It was not measured."
    )
    rate = UTILISATION * peak
    return Rates(rate, rate, SECONDS_PER_LAYER * layers, decode, dtype.itemsize * 2 / HOST_LINK, basis)


def rates_here(
    model: transformers.PreTrainedModel,
    requests: Sequence[TokenRequests],
    batches: Sequence[Batch],
    dtype: torch.dtype,
    merged_dtype: torch.dtype,
    device: torch.device,
    packs: bool,
) -> Rates:
    """Measure the rates of this machine, in some seconds.

    Args:
        model: the model, on the `meta` device.
        requests: the requests for log-probabilities, of all entries.
        batches: the batches in which answers are generated.
        dtype: the dtype that models are scored in.
        merged_dtype: the dtype of merged weights.
        device: the device that scores.
        packs: whether the model runs in packed steps.
    """
    work = work_of(model)
    merge = merge_seconds(merged_dtype, dtype)
    stand_in = random_model(model, dtype, device, free_memory(device)[0]) if packs else None
    decode = _decode_seconds(stand_in, max(batches, key=lambda batch: batch.rows), work, device) if batches else 0.0
    largest = max(requests, key=len, default=None)
    if stand_in is None or largest is None or not len(largest):
        product = product_rate(model.config.get_text_config(decoder=True), dtype, device)
        share = _SHARE if packs else _SHARE_ALONE
        basis = f"Matrix products run at {product / 1e9:.3g} GFLOP/s here (measured); {share:.0%} of it is assumed."
        return Rates(share * product, share * product, 0.0, decode, merge, basis)
    runner = PackedRunner(stand_in.model, torch.float32)
    rates = measured_rates(runner, largest, work_of(stand_in.model), _MEASURED)
    layers = "" if stand_in.layers == stand_in.of_layers else f", with {stand_in.layers} of {stand_in.of_layers} layers"
    steps = f"{rates.steps} packed step{'s' if rates.steps > 1 else ''}"
    basis = (
        f"{steps} of this suite took {rates.seconds:.1f} s here, on a model of these shapes with random "
        f"weights{layers}: {rates.body / 1e9:.3g} GFLOP/s, in the output head {rates.head / 1e9:.3g}."
    )
    return Rates(rates.body, rates.head, 0.0, decode, merge, basis)


def product_rate(config: transformers.PretrainedConfig, dtype: torch.dtype, device: torch.device) -> float:
    """Measure matrix products of 512 tokens with weights of the model's own shape, in operations a second.

    Args:
        config: the config of the text model.
        dtype: the dtype of the product.
        device: the device.
    """
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    x = torch.randn(512, config.hidden_size).to(device, dtype)
    weight = torch.randn(inner, config.hidden_size).to(device, dtype)
    product = faster_product(dtype, device) or torch.nn.functional.linear
    best, began = float("inf"), time.perf_counter()
    with torch.inference_mode():
        while time.perf_counter() - began < 0.5 or best == float("inf"):
            best = min(best, _seconds(lambda: product(x, weight, None), device))
    return 2.0 * x.numel() * int(inner) / best


def merge_seconds(merged_dtype: torch.dtype, dtype: torch.dtype) -> float:
    """Measure the time to blend two tensors, to fingerprint the result and to copy it into the live model, per number.

    Args:
        merged_dtype: the dtype of the merged weights.
        dtype: the dtype of the live model.
    """
    tensors = tuple(torch.randn(_NUMBERS).to(merged_dtype) for _ in range(2))
    place = torch.empty(_NUMBERS, dtype=dtype)

    def merge() -> None:
        digest, start = Digest(), 0
        for block in digest.blocks_of("weight", WeightedSum(tensors, (0.7, 0.3), False, merged_dtype)):
            place[start : start + len(block)].copy_(block)
            start += len(block)

    return min(_seconds(merge, torch.device("cpu")) for _ in range(3)) / _NUMBERS


def slowdown_of(methods: Sequence[str]) -> float:
    """Return how many times as long as `linear` the slowest of some merge methods takes."""
    return 1.0 if all(method in ("linear", "passthrough") for method in methods) else _OTHER_METHODS


def _decode_seconds(stand_in: RandomModel | None, batch: Batch, work: ModelWork, device: torch.device) -> float:
    """Measure a step that generates a token of each answer of a batch; from the speed of memory without a model."""
    if stand_in is None:
        return 2.0 * work.n_active / (psutil.cpu_count() or 1) / 1e9
    model = stand_in.model
    model.generation_config = transformers.GenerationConfig()  # type: ignore[no-untyped-call]
    prompt = torch.full((batch.rows, min(batch.context, 256)), 3, dtype=torch.int64, device=device)
    options = {"attention_mask": torch.ones_like(prompt), "do_sample": True, "pad_token_id": 0, "eos_token_id": None}

    def generate(n: int) -> None:
        model.generate(prompt, min_new_tokens=n, max_new_tokens=n, **options)  # type: ignore[operator]

    with torch.inference_mode():
        few, many = (min(_seconds(lambda n=n: generate(n), device) for _ in range(2)) for n in _GENERATED)
    return max(0.0, many - few) / (_GENERATED[1] - _GENERATED[0]) * stand_in.of_layers / stand_in.layers


def _seconds(run: object, device: torch.device) -> float:
    assert callable(run)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
