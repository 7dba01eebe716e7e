"""Runs the steps of an arrangement on a causal transformers model and adds up the log-probabilities that are asked for.

Relied on in transformers 5: a four-dimensional attention mask, or a dict of them by layer type, is used as it is;
`logits_to_keep` may be a tensor of positions; a `DynamicCache` without a configuration keeps every token in every
layer, under `layers[i].keys` and `.values`, (1, heads, tokens, head size).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from mergekit_calib.scoring.arrangement import Budget, Ints, Requests, Step
from mergekit_calib.scoring.attention import branches_of, by_branch

_FULL, _SLIDING = "full_attention", "sliding_attention"
_READ_BYTES = 128 * 2**20  # of logits, in float32, that a step may make
_CPU_TOKENS = 256  # enough for the matrix products; more only lengthens the attention
_GPU_TOKENS = 4096


@dataclass(frozen=True)
class Answers:
    """(n_requests,) the log-likelihood of each request, and whether it is what greedy decoding would say."""

    log_likelihoods: list[float]
    greedy: list[bool]


class PackedRunner:
    """A model, and the cache of the path that is being gone down.

    Args:
        model: causal, in evaluation mode; `why_not` says which can be run.
        softmax_dtype: of the log-softmax.
        mixed_precision_dtype: as lm-eval's; None for the model's own.

    Attributes:
        windows: layer type → how many tokens back its attention reaches; None for all of them.
    """

    def __init__(
        self,
        model: transformers.PreTrainedModel,
        softmax_dtype: torch.dtype,
        mixed_precision_dtype: torch.dtype | None = None,
    ) -> None:
        self._model, self._softmax_dtype, self._mixed = model, softmax_dtype, mixed_precision_dtype
        self._config = model.config.get_text_config(decoder=True)
        self._device = torch.device(model.device)
        self.windows = _windows_by_layer_type(self._config)
        # On a processor, where attention takes its time; a GPU does better with one large product.
        self._by_branch = self._device.type == "cpu" and self._config._attn_implementation == "sdpa"
        self._cache = DynamicCache()

    @property
    def vocab_size(self) -> int:
        return int(self._config.vocab_size)

    @property
    def is_exact(self) -> bool:
        """Whether it computes in float32 or better, so that the order of additions hardly shows."""
        return (self._mixed or self._model.dtype).itemsize >= 4

    @property
    def budget(self) -> Budget:
        """What a step may hold on this device: what keeps matrix products at their best, and logits in bounds."""
        reads = max(1, _READ_BYTES // (4 * self.vocab_size))
        return Budget(_CPU_TOKENS if self._device.type == "cpu" else _GPU_TOKENS, reads)

    def run(
        self, requests: Requests, on_answers: Callable[[int], None] | None = None, budget: Budget | None = None
    ) -> Answers:
        """Answer every request; a device that runs out of memory gets steps of half the size.

        Args:
            on_answers: told how many more requests were answered, as they are.
        """
        budget = budget or self.budget
        while True:
            try:
                return self._run(requests, requests.steps(budget), on_answers)
            except torch.cuda.OutOfMemoryError:
                if budget.is_least:
                    raise
            # Outside the handler, whose traceback holds on to the tensors that did not fit.
            budget = budget.halved()
            self._cache = DynamicCache()
            torch.cuda.empty_cache()

    def _run(self, requests: Requests, steps: Iterable[Step], on_answers: Callable[[int], None] | None) -> Answers:
        # Sums stay on the device: nothing in the loop waits for it.
        exact = torch.float32 if self._device.type == "mps" else torch.float64
        sums = torch.zeros(len(requests), dtype=exact, device=self._device)
        misses = torch.zeros(len(requests), dtype=torch.int32, device=self._device)
        left = requests.lengths
        for step in steps:
            logits = self._logits(step)
            if logits is None:
                continue
            rows, targets, of = (self._put(x) for x in (step.rows, step.targets, step.requests))
            scores = torch.log_softmax(logits, dim=-1, dtype=self._softmax_dtype)
            best = scores.argmax(dim=-1)
            sums.index_add_(0, of, scores[rows, targets].to(exact))
            misses.index_add_(0, of, (best[rows] != targets).to(torch.int32))
            if on_answers:
                np.subtract.at(left, step.requests, 1)
                on_answers(int((left[np.unique(step.requests)] == 0).sum()))
        self._cache = DynamicCache()
        return Answers(sums.tolist(), (misses == 0).tolist())

    def plain(self, tokens: list[int], n: int) -> float:
        """The log-probability of the last `n` of `tokens` after the others, in one ordinary forward pass."""
        inputs = torch.tensor([tokens[:-1]], device=self._device)
        with torch.inference_mode(), torch.autocast(self._device.type, self._mixed, enabled=self._mixed is not None):
            logits = self._model(input_ids=inputs, logits_to_keep=n, use_cache=False).logits[0]
        scores = torch.log_softmax(logits, dim=-1, dtype=self._softmax_dtype)
        return float(scores.gather(1, torch.tensor(tokens[-n:], device=self._device)[:, None]).sum())

    def _logits(self, step: Step) -> torch.Tensor | None:
        """(reads, vocabulary) the logits that a step reads; None where it reads none."""
        self._rewind(step.past)
        n = len(step.tokens)
        inputs: dict[str, Any] = {
            "input_ids": self._put(step.tokens)[None],
            "position_ids": self._put(step.positions)[None],
            "attention_mask": self._mask(step),
            "past_key_values": self._cache,
            "use_cache": True,
        }
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            stack.enter_context(torch.autocast(self._device.type, self._mixed, enabled=self._mixed is not None))
            if self._by_branch:
                stack.enter_context(by_branch(self._config))
                inputs["branches"] = branches_of(step)
            if len(step.reads):
                logits = self._model(**inputs, logits_to_keep=self._put(step.reads)).logits[0]
            else:
                self._model.base_model(**inputs)
                logits = None
        if not step.kept:
            self._rewind(self._cache.get_seq_length() - n)
        return logits

    def _rewind(self, length: int) -> None:
        """Let the cache hold the first `length` tokens of the path that it holds."""
        if length == 0:
            self._cache = DynamicCache()
            return
        for layer in self._cache.layers:
            if isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None:
                layer.keys, layer.values = layer.keys[..., :length, :], layer.values[..., :length, :]

    def _mask(self, step: Step) -> torch.Tensor | dict[str, torch.Tensor] | None:
        """(1, 1, tokens, past + tokens), added to the attention scores; None where plain causal attention is meant."""
        if step.past == 0 and step.is_path:
            return None  # the model's own, which has faster kernels
        n = len(step.tokens)
        positions, ends = self._put(step.positions), self._put(step.ends)
        index = torch.arange(n, device=self._device)
        attends = torch.ones(n, step.past + n, dtype=torch.bool, device=self._device)
        attends[:, step.past :] = (index[None, :] <= index[:, None]) & (index[:, None] < ends[None, :])
        dtype = self._mixed or self._model.dtype
        masks = {}
        for kind, window in self.windows.items():
            visible = attends
            if window is not None:
                key_positions = torch.cat([torch.arange(step.past, device=self._device), positions])
                visible = attends & (positions[:, None] - key_positions[None, :] < window)
            # Added rather than boolean: what every attention implementation takes, and converted once for all layers.
            mask = torch.zeros(visible.shape, dtype=dtype, device=self._device)
            masks[kind] = mask.masked_fill_(~visible, torch.finfo(dtype).min)[None, None]
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _put(self, array: Ints) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self._device.type == "cuda":
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._device)


def why_not(model: transformers.PreTrainedModel) -> str | None:
    """Why steps of this model cannot share a cache, in a few words; None where they can."""
    name = type(model).__name__
    if not type(model).__module__.startswith("transformers."):
        return f"{name} is not transformers' own code"
    if model.config.is_encoder_decoder:
        return f"{name} is an encoder-decoder"
    parameters = inspect.signature(type(model).forward).parameters
    lacking = [p for p in ("logits_to_keep", "position_ids", "past_key_values") if p not in parameters]
    if lacking:
        return f"{name} takes no {lacking[0]}"
    config = model.config.get_text_config(decoder=True)
    layers = DynamicCache(config=config).layers
    if getattr(model, "_is_stateful", False) or any(
        type(x) not in (DynamicLayer, DynamicSlidingWindowLayer) for x in layers
    ):
        return f"{name} carries more than keys and values from token to token"
    if set(getattr(config, "layer_types", None) or ()) - {_FULL, _SLIDING}:
        return f"{name} has attention other than full and sliding"
    if (attention := config._attn_implementation) not in ("sdpa", "eager"):
        return f"attention is {attention}, which takes no mask of ours"
    return None


def differs_from_plain(runner: PackedRunner, max_length: int) -> str | None:
    """How steps of this model give other log-probabilities than plain forward passes; None where they agree.

    Two sequences that part ways near their ends, run in pieces that go beyond a sliding window.
    """
    windows = [window for window in runner.windows.values() if window is not None and window < 1024]
    n = min(max_length, 64 + max(windows, default=0))
    draw = np.random.default_rng(0)
    tokens = draw.integers(runner.vocab_size, size=n).tolist()
    branch = tokens[: n - n // 4] + draw.integers(runner.vocab_size, size=n // 8).tolist()
    requests = Requests()
    for sequence in (tokens, branch):
        requests.add(sequence[:-3], sequence[-3:], max_length)
    packed = runner.run(requests, budget=Budget(n // 3, 8)).log_likelihoods
    plain = [runner.plain(sequence, 3) for sequence in (tokens, branch)]
    close = 1e-4 if runner.is_exact else 0.05
    worst = max(abs(a - b) / (1 + abs(b)) for a, b in zip(packed, plain, strict=True))
    if worst <= close:
        return None
    return f"packed steps do not give its log-probabilities ({packed[0]:.4f} for {plain[0]:.4f})"


def _windows_by_layer_type(config: transformers.PreTrainedConfig) -> dict[str, int | None]:
    """Layer type → how many tokens back its attention reaches; None for all of them."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return {_SLIDING: window} if window and getattr(config, "use_sliding_window", True) else {_FULL: None}
    return {kind: window if kind == _SLIDING else None for kind in sorted(set(kinds))}
