"""What scoring costs in tokens and floating-point operations, from a model's shapes and the steps of its tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import transformers

from mergekit_calib.prefix_lm.packed import last_mlp, windows_by_layer_type
from mergekit_calib.prefix_lm.steps import Run, Step


@dataclass(frozen=True)
class StepCounts:
    """What some packed steps run.

    Attributes:
        tokens: tokens that go through the body of the model.
        reads: positions at which the output head is applied.
        pairs: layer type → (query, key) pairs that one attention layer of this type computes, masked ones included.
    """

    tokens: int = 0
    reads: int = 0
    pairs: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: StepCounts) -> StepCounts:
        kinds = {**self.pairs, **other.pairs}
        pairs = {kind: self.pairs.get(kind, 0) + other.pairs.get(kind, 0) for kind in kinds}
        return StepCounts(self.tokens + other.tokens, self.reads + other.reads, pairs)


def count_steps(steps: Iterable[Step], windows: Mapping[str, int | None], by_run: bool) -> StepCounts:
    """Return what packed steps run.

    Args:
        steps: the steps.
        windows: layer type → how many tokens back its attention reaches; None if it reaches all.
        by_run: whether attention is computed run by run, as on a CPU, or between all tokens of a step.
    """
    tokens = reads = 0
    pairs = dict.fromkeys(windows, 0)
    for step in steps:
        n = len(step.tokens)
        tokens, reads = tokens + n, reads + len(step.reads)
        for kind, window in windows.items():
            if by_run:
                pairs[kind] += sum((run.end - run.start) * _n_keys(run, step.past, window) for run in step.runs)
            else:
                pairs[kind] += n * (step.past + n)
    return StepCounts(tokens, reads, pairs)


def _n_keys(run: Run, past: int, window: int | None) -> int:
    first = 0 if window is None else min(past, max(0, run.position - window + 1))
    return past - first + len(run.path) + run.end - run.start


def count_alone(lengths: Iterable[int], windows: Mapping[str, int | None]) -> StepCounts:
    """Return what inputs cost that share nothing, with the output head at each token, as in lm-eval's `hf`.

    Args:
        lengths: the tokens of each input.
        windows: layer type → how many tokens back its attention reaches.
    """
    n = np.fromiter(lengths, dtype=np.int64)
    return StepCounts(int(n.sum()), int(n.sum()), dict.fromkeys(windows, int((n * n).sum())))


@dataclass(frozen=True)
class ModelWork:
    """The floating-point operations of a model, two for each number that a token is multiplied with.

    Products with weights and those of attention are counted; norms, activations and softmax are not.

    Attributes:
        body: of one token in the body, without the last feed-forward network.
        last_mlp: of one position in the last feed-forward network, which is applied only where the head reads.
        head: of one position in the output head.
        attention: layer type → of one (query, key) pair, in all layers of this type together.
        n_active: numbers that a token is multiplied with in the body and the head.
    """

    body: int
    last_mlp: int
    head: int
    attention: Mapping[str, int]
    n_active: int

    def body_flops(self, counts: StepCounts) -> float:
        """Return the operations of steps, without the output head."""
        pairs = sum(n * self.attention[kind] for kind, n in counts.pairs.items())
        return float(self.body * counts.tokens + self.last_mlp * counts.reads + pairs)

    def plain_body_flops(self, counts: StepCounts) -> float:
        """Return the operations of ordinary forward passes, in which every layer sees every token."""
        return self.body_flops(counts) + float(self.last_mlp * (counts.tokens - counts.reads))

    def head_flops(self, counts: StepCounts) -> float:
        """Return the operations of the output head."""
        return float(self.head * counts.reads)


def work_of(model: transformers.PreTrainedModel) -> ModelWork:
    """Return the floating-point operations of a model, which may be on the `meta` device.

    In a mixture of experts, a token goes through as many experts as its config says.

    Args:
        model: a causal model.
    """
    config = model.config.get_text_config(decoder=True)
    base: Any = model.base_model
    decoder: Any = base.get_decoder() if hasattr(base, "get_decoder") else base
    body = _active_numbers(decoder, config)
    last = last_mlp(model)
    in_last = _active_numbers(last, config) if last is not None else 0
    embeddings: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    head = embeddings.weight.numel() if embeddings is not None else 0
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    kinds = list(windows_by_layer_type(config))
    types = getattr(config, "layer_types", None) or kinds * config.num_hidden_layers
    attention = {kind: 4 * heads * size * types.count(kind) for kind in kinds}
    return ModelWork(2 * (body - in_last), 2 * in_last, 2 * head, attention, body + head)


def _active_numbers(module: torch.nn.Module, config: transformers.PretrainedConfig) -> int:
    """Return how many numbers of a module's weights one token is multiplied with."""
    n = 0
    for part in module.modules():
        if isinstance(part, torch.nn.Embedding):
            continue
        for name, weight in part.named_parameters(recurse=False):
            if weight.ndim == 2 and not name.endswith("bias"):
                n += weight.numel()
            elif weight.ndim == 3:  # the weights of all experts in one tensor
                n += weight.numel() * _n_chosen(config) // weight.shape[0]
    return n


def _n_chosen(config: transformers.PretrainedConfig) -> int:
    """Return how many experts a token goes through."""
    for name in ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "top_k_experts"):
        if isinstance(chosen := getattr(config, name, None), int):
            return chosen
    return 1


def attends_by_run(model: transformers.PreTrainedModel, device: torch.device) -> bool:
    """Return whether attention of packed steps is computed run by run on a device."""
    return device.type == "cpu" and model.config.get_text_config(decoder=True)._attn_implementation == "sdpa"
