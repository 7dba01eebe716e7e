"""Runs the steps of an arrangement on a causal transformers model, and its output head where answers are read.

Relied on in transformers 5: a four-dimensional attention mask, or a dict of them by layer type, is used as it is;
a model's `forward` takes the hidden states of its XX `DynamicCache` without a configuration
keeps every token in every layer, under `layers[i].keys` and `.values`, (1, heads, tokens, head size).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
import transformers
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from mergekit_calib.scoring.arrangement import Ints, Requests, Step
from mergekit_calib.scoring.attention import Cut, by_run
from mergekit_calib.scoring.head import Head, forward_replaced
from mergekit_calib.scoring.tally import Answers, Tally

_FULL, _SLIDING = "full_attention", "sliding_attention"
_CPU_TOKENS = 1024  # enough for the matrix products, and for their weights to be fetched seldom
_GPU_TOKENS = 4096
_CPU_TOKENS_TOGETHER = 256  # where attention takes all tokens of a step against each other


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
        self._by_run = self._device.type == "cpu" and self._config._attn_implementation == "sdpa"
        self._cache = DynamicCache()
        self._head = Head(model, softmax_dtype, self._computing)
        self._last_mlp = _last_mlp(model)
        on_cpu = _CPU_TOKENS if self._by_run else _CPU_TOKENS_TOGETHER
        self.step_tokens = on_cpu if self._device.type == "cpu" else _GPU_TOKENS

    @property
    def vocab_size(self) -> int:
        return int(self._config.vocab_size)

    @property
    def is_exact(self) -> bool:
        """Whether it computes in float32 or better, so that the order of additions hardly shows."""
        return (self._mixed or self._model.dtype).itemsize >= 4

    def run(self, requests: Requests, on_answers: Callable[[int], None] | None = None) -> Answers:
        """Answer every request; where a device runs out of memory, what is left goes on in steps of half the size.

        Args:
            on_answers: told how many more requests were answered, as they are.
        """
        tally = Tally(requests, self._head, self._put, self._device)
        steps = requests.steps(self.step_tokens)
        while True:
            try:
                self._run(steps, tally, on_answers)
                return tally.answers()
            except torch.cuda.OutOfMemoryError:
                if self.step_tokens == self._head.rows == 1:
                    raise
            # Outside the handler, whose traceback holds on to the tensors that did not fit.
            self.step_tokens, self._head.rows = max(1, self.step_tokens // 2), max(1, self._head.rows // 2)
            self._cache = DynamicCache()
            steps = requests.steps_for(tally.reopen(), self.step_tokens)
            torch.cuda.empty_cache()

    def _run(self, steps: Iterable[Step], tally: Tally, on_answers: Callable[[int], None] | None) -> None:
        for step in steps:
            hidden = self._hidden(step)
            if hidden is None:
                continue
            n_completed = tally.take(hidden, step)
            if tally.n_waiting >= self._head.rows:
                tally.read()
            if on_answers:
                on_answers(n_completed)
        tally.read()
        self._cache = DynamicCache()

    def plain(self, tokens: list[int], n: int) -> float:
        """The log-probability of the last `n` of `tokens` after the others, in one ordinary forward pass."""
        inputs = torch.tensor([tokens[:-1]], device=self._device)
        with self._computing():
            logits = self._model(input_ids=inputs, logits_to_keep=n, use_cache=False).logits[0]
        scores = torch.log_softmax(logits, dim=-1, dtype=self._softmax_dtype)
        return float(scores.gather(1, torch.tensor(tokens[-n:], device=self._device)[:, None]).sum())

    def _hidden(self, step: Step) -> torch.Tensor | None:
        """(reads, hidden size) what the head takes of the positions that a step reads; None where it reads none."""
        self._rewind(step.past)
        n = len(step.tokens)
        inputs: dict[str, Any] = {
            "input_ids": self._put(step.tokens)[None],
            "position_ids": self._put(step.positions)[None],
            "attention_mask": self._mask(step),
            "past_key_values": self._cache,
            "use_cache": True,
        }
        reads = self._put(step.reads)
        with self._computing() as context:
            if self._by_run:
                context.enter_context(by_run(self._config))
                inputs["cut"] = Cut(step)
            if self._last_mlp is not None:
                context.enter_context(_only_at(reads, self._last_mlp))
            outputs = self._model.base_model(**inputs)
            self._head.output_type = type(outputs)
            hidden = outputs.last_hidden_state[0].index_select(0, reads) if len(step.reads) else None
        if not step.kept:
            self._rewind(self._cache.get_seq_length() - n)
        return hidden

    @contextmanager
    def _computing(self) -> Iterator[ExitStack]:
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            stack.enter_context(torch.autocast(self._device.type, self._mixed, enabled=self._mixed is not None))
            yield stack

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


def _last_mlp(model: transformers.PreTrainedModel) -> torch.nn.Module | None:
    """The last layer's feed-forward network, whose output only the head reads; None where there is no such one."""
    n_layers = model.config.get_text_config(decoder=True).num_hidden_layers
    stacks = [m for m in model.base_model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == n_layers]
    found = [getattr(stack[-1], "mlp", None) for stack in stacks]
    plain = len(found) == 1 and type(found[0]).__name__.endswith("MLP") and "forward" not in vars(found[0])
    return found[0] if plain else None


def _only_at(positions: torch.Tensor, mlp: torch.nn.Module) -> AbstractContextManager[None]:
    """While it lasts, a feed-forward network is applied at these positions only, and gives zeros elsewhere."""
    whole = mlp.forward

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        if not len(positions):
            return torch.zeros_like(hidden)
        some = whole(hidden.index_select(1, positions))
        return torch.zeros_like(hidden, dtype=some.dtype).index_copy_(1, positions, some)

    return forward_replaced(mlp, forward)


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
    whole, runner.step_tokens = runner.step_tokens, n // 3
    try:
        packed = runner.run(requests).log_likelihoods
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as problem:
        return f"packed steps fail on it ({type(problem).__name__}: {problem})"
    finally:
        runner.step_tokens = whole
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
