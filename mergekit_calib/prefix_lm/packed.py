"""Run the steps of a prefix tree on a causal transformers model, and its output head where answers are read.

It relies on transformers 5: a four-dimensional attention mask, or a dict of them by layer type, is used as it is;
a `DynamicCache` without a configuration keeps every token in every layer, under `layers[i].keys` and `.values`,
(1, heads, tokens, head size); the last feed-forward network is `mlp` of the last layer in the list of all layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
import transformers
from transformers.cache_utils import DynamicCache, DynamicLayer

from mergekit_calib.prefix_lm.accumulator import Accumulator, Answers
from mergekit_calib.prefix_lm.attention import RunMasks, attention_by_run
from mergekit_calib.prefix_lm.batch_limits import BatchLimits
from mergekit_calib.prefix_lm.cache import cache_argument
from mergekit_calib.prefix_lm.gated_mlp import gated_mlps, mlps_by_onednn
from mergekit_calib.prefix_lm.head import OutputHead, forward_replaced
from mergekit_calib.prefix_lm.onednn_products import faster_product, linear_layers_by, plain_linear_layers
from mergekit_calib.prefix_lm.prefix_tree import TokenRequests
from mergekit_calib.prefix_lm.steps import IntArray, Step

FULL, SLIDING = "full_attention", "sliding_attention"


class PackedRunner:
    """Runs steps on a model, and caches the keys and values of the prefix that later steps continue from.

    Args:
        model: a causal model in evaluation mode, for which `compatibility.incompatibility` returns None.
        softmax_dtype: dtype of the log-softmax.
        mixed_precision_dtype: dtype of autocast, as in lm-eval; None to compute in the model's own dtype.
        limits: how much is computed at once; None for the defaults of the device.

    Attributes:
        limits: how much is computed at once; halved when the device runs out of memory.
        windows: layer type → how many tokens back its attention reaches; None if it reaches all.
    """

    def __init__(
        self,
        model: transformers.PreTrainedModel,
        softmax_dtype: torch.dtype,
        mixed_precision_dtype: torch.dtype | None = None,
        limits: BatchLimits | None = None,
    ) -> None:
        self._model, self._softmax_dtype, self._mixed = model, softmax_dtype, mixed_precision_dtype
        self._config = model.config.get_text_config(decoder=True)
        self._device = torch.device(model.device)
        self.windows = windows_by_layer_type(self._config)
        # On a CPU, where attention takes long; a GPU computes one large product faster.
        self._by_run = self._device.type == "cpu" and self._config._attn_implementation == "sdpa"
        self._cache, self._cache_argument = DynamicCache(), cache_argument(model.base_model)
        self.limits = limits or BatchLimits.for_device(self._device, self._by_run)
        self._product = faster_product(mixed_precision_dtype or model.dtype, self._device)
        self._linear_layers = plain_linear_layers(model.base_model) if self._product else []
        self._gated_mlps = gated_mlps(model.base_model) if self._product else []
        self._head = OutputHead(model, softmax_dtype, self._inference_context, self.limits, self._product)
        self._last_mlp = last_mlp(model)

    @property
    def vocab_size(self) -> int:
        """The number of tokens in the model's vocabulary."""
        return int(self._config.vocab_size)

    @property
    def is_exact(self) -> bool:
        """Whether it computes in float32 or a wider dtype, in which the order of additions hardly matters."""
        return (self._mixed or self._model.dtype).itemsize >= 4

    def run(self, requests: TokenRequests, on_answers: Callable[[int], None] | None = None) -> Answers:
        """Answer every request.

        When a GPU runs out of memory, the limits are halved and the requests that are left are run again.

        Args:
            requests: the requests to answer.
            on_answers: called after each step with how many more requests it completed.

        Raises:
            torch.cuda.OutOfMemoryError: a single token does not fit.
        """
        accumulator = Accumulator(requests, self._head, self._to_head, self._head.device)
        steps = requests.steps(self.limits.step_tokens)
        while True:
            try:
                self._run(steps, accumulator, on_answers)
                return accumulator.answers()
            except torch.cuda.OutOfMemoryError:
                if self.limits.are_minimal:
                    raise
            # Outside the handler, whose traceback keeps the tensors that did not fit alive.
            self.limits.halve()
            self._cache = DynamicCache()
            steps = requests.steps_for(accumulator.discard_unfinished(), self.limits.step_tokens)
            torch.cuda.empty_cache()

    def _run(self, steps: Iterable[Step], accumulator: Accumulator, on_answers: Callable[[int], None] | None) -> None:
        """Run steps in order, and the output head whenever enough hidden states are pending."""
        for step in steps:
            hidden = self._hidden(step)
            if hidden is None:
                continue
            n_completed = accumulator.add(hidden, step)
            if accumulator.n_pending >= self._head.max_rows:
                accumulator.apply_head()
            if on_answers:
                on_answers(n_completed)
        accumulator.apply_head()
        self._cache = DynamicCache()

    def plain_log_likelihood(self, tokens: list[int], n: int) -> float:
        """Return the log-likelihood of the last `n` tokens after the others, in nats, from one ordinary forward pass.

        Args:
            tokens: token ids, more than `n`.
            n: the length of the continuation.
        """
        inputs = torch.tensor([tokens[:-1]], device=self._device)
        with self._inference_context():
            logits = self._model(input_ids=inputs, logits_to_keep=n, use_cache=False).logits[0]
        scores = torch.log_softmax(logits, dim=-1, dtype=self._softmax_dtype)
        return float(scores.gather(1, torch.tensor(tokens[-n:], device=logits.device)[:, None]).sum())

    def _hidden(self, step: Step) -> torch.Tensor | None:
        """Return (reads, hidden size), the head's input at the positions that a step reads; None if it reads none."""
        self._truncate_cache(step.past)
        n = len(step.tokens)
        inputs: dict[str, Any] = {
            "input_ids": self._to_device(step.tokens)[None],
            "position_ids": self._to_device(step.positions)[None],
            "attention_mask": self._mask(step),
            self._cache_argument: self._cache,
            "use_cache": True,
        }
        reads = self._to_device(step.reads)
        with self._inference_context() as context:
            if self._product:
                context.enter_context(linear_layers_by(self._product, self._linear_layers))
                context.enter_context(mlps_by_onednn(self._gated_mlps))
            if self._by_run:
                context.enter_context(attention_by_run(self._config))
                inputs["run_masks"] = RunMasks(step.past, step.runs, self._product)
            if self._last_mlp is not None:
                context.enter_context(_only_at(reads.to(_device_of(self._last_mlp, self._device)), self._last_mlp))
            outputs = self._model.base_model(**inputs)
            self._head.output_type = type(outputs)
            last = outputs.last_hidden_state[0]
            hidden = last.index_select(0, reads.to(last.device)) if len(step.reads) else None
        if not step.kept:
            self._truncate_cache(self._cache.get_seq_length() - n)
        return hidden

    @contextmanager
    def _inference_context(self) -> Iterator[ExitStack]:
        """Run the model in inference mode, and under autocast if mixed precision is asked for."""
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            stack.enter_context(torch.autocast(self._device.type, self._mixed, enabled=self._mixed is not None))
            yield stack

    def _truncate_cache(self, length: int) -> None:
        """Truncate the cache to the first `length` of its tokens."""
        if length == 0:
            self._cache = DynamicCache()
            return
        for layer in self._cache.layers:
            if isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None:
                layer.keys, layer.values = layer.keys[..., :length, :], layer.values[..., :length, :]

    def _mask(self, step: Step) -> torch.Tensor | dict[str, torch.Tensor] | None:
        """Return the mask of a step, (1, 1, tokens, past + tokens), added to the attention scores.

        It is a dict by layer type if layers differ in how far back they reach, and None for ordinary causal attention.
        """
        if step.past == 0 and step.is_path and not (self._by_run and self._product):
            return None  # the model then makes its own mask, for which torch has faster kernels
        n = len(step.tokens)
        positions, ends = self._to_device(step.positions), self._to_device(step.ends)
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
            # Numbers to add, not booleans: every attention implementation takes them, and no layer must convert them.
            mask = torch.zeros(visible.shape, dtype=dtype, device=self._device)
            masks[kind] = mask.masked_fill_(~visible, torch.finfo(dtype).min)[None, None]
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _to_device(self, array: IntArray) -> torch.Tensor:
        """Copy an array to the model's device, the first if it is spread over several."""
        return _copied(array, self._device)

    def _to_head(self, array: IntArray) -> torch.Tensor:
        """Copy an array to the device of the output head."""
        return _copied(array, self._head.device)


def _copied(array: IntArray, device: torch.device) -> torch.Tensor:
    """Copy an array to a device."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _device_of(module: torch.nn.Module, otherwise: torch.device) -> torch.device:
    """Return the device of a module's first parameter."""
    return next((parameter.device for parameter in module.parameters()), otherwise)


def last_mlp(model: transformers.PreTrainedModel) -> torch.nn.Module | None:
    """Return the last layer's feed-forward network, whose output only the head reads; None if unsure."""
    n_layers = model.config.get_text_config(decoder=True).num_hidden_layers
    stacks = [m for m in model.base_model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == n_layers]
    mlps = [getattr(stack[-1], "mlp", None) for stack in stacks]
    is_plain = len(mlps) == 1 and type(mlps[0]).__name__.endswith("MLP") and "forward" not in vars(mlps[0])
    return mlps[0] if is_plain else None


def _only_at(positions: torch.Tensor, mlp: torch.nn.Module) -> AbstractContextManager[None]:
    """Apply a feed-forward network only at these positions within the `with` block; elsewhere its output is zero.

    If there are no positions it is applied at the first. What it returns besides its output, such as a router's
    scores, is passed on unchanged.
    """
    original = mlp.forward
    at = positions if len(positions) else torch.zeros(1, dtype=torch.int64, device=positions.device)

    def forward(hidden: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        returned = original(hidden.index_select(1, at))
        output, *others = returned if isinstance(returned, tuple) else (returned,)
        spread = torch.zeros_like(hidden, dtype=output.dtype).index_copy_(1, at, output)
        return (spread, *others) if isinstance(returned, tuple) else spread

    return forward_replaced(mlp, forward)


def windows_by_layer_type(config: transformers.PreTrainedConfig) -> dict[str, int | None]:
    """Return for each layer type how many tokens back its attention reaches; None if it reaches all."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return {SLIDING: window} if window and getattr(config, "use_sliding_window", True) else {FULL: None}
    return {kind: window if kind == SLIDING else None for kind in sorted(set(kinds))}
