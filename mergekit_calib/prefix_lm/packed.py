"""Runs the steps of an arrangement on a causal transformers model, and its output head where answers are read.

Relied on in transformers 5: a four-dimensional attention mask, or a dict of them by layer type, is used as it is;
a `DynamicCache` without a configuration keeps every token in every layer, under `layers[i].keys` and `.values`,
(1, heads, tokens, head size); the last feed-forward network is `mlp` of the last of as many layers as there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
import transformers
from transformers.cache_utils import DynamicCache, DynamicLayer

from mergekit_calib.prefix_lm.accumulator import Answers, Tally
from mergekit_calib.prefix_lm.attention import Cut, by_run
from mergekit_calib.prefix_lm.batch_limits import Sizes
from mergekit_calib.prefix_lm.cache import cache_argument
from mergekit_calib.prefix_lm.head import Head, forward_replaced
from mergekit_calib.prefix_lm.prefix_tree import Requests
from mergekit_calib.prefix_lm.steps import Ints, Step

FULL, SLIDING = "full_attention", "sliding_attention"


class PackedRunner:
    """A model, and the cache of the path that is being gone down.

    Args:
        model: causal, in evaluation mode; `suitability.why_not` says which can be run.
        softmax_dtype: of the log-softmax.
        mixed_precision_dtype: as lm-eval's; None for the model's own.
        sizes: of what is run at once; None for what suits the device.

    Attributes:
        windows: layer type → how many tokens back its attention reaches; None for all of them.
    """

    def __init__(
        self,
        model: transformers.PreTrainedModel,
        softmax_dtype: torch.dtype,
        mixed_precision_dtype: torch.dtype | None = None,
        sizes: Sizes | None = None,
    ) -> None:
        self._model, self._softmax_dtype, self._mixed = model, softmax_dtype, mixed_precision_dtype
        self._config = model.config.get_text_config(decoder=True)
        self._device = torch.device(model.device)
        self.windows = _windows_by_layer_type(self._config)
        # On a processor, where attention takes its time; a GPU does better with one large product.
        self._by_run = self._device.type == "cpu" and self._config._attn_implementation == "sdpa"
        self._cache, self._cache_argument = DynamicCache(), cache_argument(model.base_model)
        self.sizes = sizes or Sizes.on(self._device, self._by_run)
        self._head = Head(model, softmax_dtype, self._computing, self.sizes)
        self._last_mlp = _last_mlp(model)

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
        steps = requests.steps(self.sizes.step_tokens)
        while True:
            try:
                self._run(steps, tally, on_answers)
                return tally.answers()
            except torch.cuda.OutOfMemoryError:
                if self.sizes.are_least:
                    raise
            # Outside the handler, whose traceback holds on to the tensors that did not fit.
            self.sizes.halve()
            self._cache = DynamicCache()
            steps = requests.steps_for(tally.reopen(), self.sizes.step_tokens)
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
            self._cache_argument: self._cache,
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
    """While it lasts, a feed-forward network is applied at these positions only, and gives zeros elsewhere.

    At the first position, where there are none. What it gives beside its output (a router's scores) is left as it is.
    """
    whole = mlp.forward
    at = positions if len(positions) else torch.zeros(1, dtype=torch.int64, device=positions.device)

    def forward(hidden: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        found = whole(hidden.index_select(1, at))
        some, *others = found if isinstance(found, tuple) else (found,)
        spread = torch.zeros_like(hidden, dtype=some.dtype).index_copy_(1, at, some)
        return (spread, *others) if isinstance(found, tuple) else spread

    return forward_replaced(mlp, forward)


def _windows_by_layer_type(config: transformers.PreTrainedConfig) -> dict[str, int | None]:
    """Layer type → how many tokens back its attention reaches; None for all of them."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return {SLIDING: window} if window and getattr(config, "use_sliding_window", True) else {FULL: None}
    return {kind: window if kind == SLIDING else None for kind in sorted(set(kinds))}
