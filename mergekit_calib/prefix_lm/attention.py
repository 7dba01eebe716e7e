"""Attention of a packed step, computed for one run of tokens (`steps.Run`) after another.

A run attends only to the keys that its tokens can see, so few scores between different branches are computed.

It relies on transformers 5: on `AttentionInterface.register`, and on models that pass keyword arguments they do not
know, and a layer's `sliding_window`, down to the attention function. If a model does not pass them, attention is
computed for the whole step under the mask, which the model is given in any case.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import transformers
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from mergekit_calib.prefix_lm.onednn_products import Product
from mergekit_calib.prefix_lm.steps import Run

_NAME = "sdpa_by_run"
_LEAST_PRODUCT = 4_000_000  # (query, key) pairs × head size from which two products are faster than torch's kernel


class RunMasks:
    """The keys and the part of the mask that each run of a step needs; computed once for all layers of one kind.

    Args:
        past: number of tokens before the step, which the cache holds.
        runs: the runs of the step.
        product: computes products faster than torch does by itself; None to leave them to torch.
    """

    def __init__(self, past: int, runs: Sequence[Run], product: Product | None = None) -> None:
        self._past, self._runs, self.product = past, runs, product
        self._computed: dict[tuple[int | None, int], list[tuple[Run, torch.Tensor, torch.Tensor]]] = {}

    def for_layer(
        self, mask: torch.Tensor, window: int | None, groups: int
    ) -> list[tuple[Run, torch.Tensor, torch.Tensor]]:
        """Return each run with the (k,) indices of its keys and its (1, 1, groups × run tokens, k) mask.

        Args:
            mask: (1, 1, tokens, past + tokens), added to the attention scores; the same for all layers of one window.
            window: how many tokens back the layer's attention reaches; None if it reaches all.
            groups: number of query heads that share a key head; they are stacked as rows of one product.
        """
        if (window, groups) not in self._computed:
            self._computed[window, groups] = [
                (run, keys, mask[:, :, run.start : run.end].index_select(-1, keys).repeat(1, 1, groups, 1))
                for run in self._runs
                for keys in [self._keys(run, window).to(mask.device)]
            ]
        return self._computed[window, groups]

    def _keys(self, run: Run, window: int | None) -> torch.Tensor:
        """Return the indices of the keys, past ones first, that any token of the run attends to."""
        past = self._past
        first = 0 if window is None else min(past, max(0, run.position - window + 1))
        return torch.from_numpy(np.r_[first:past, past + run.path, past + run.start : past + run.end])


@contextmanager
def attention_by_run(config: transformers.PreTrainedConfig) -> Iterator[None]:
    """Let models with this configuration use `run_attention` within the `with` block."""
    previous = config._attn_implementation
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = previous


def run_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    run_masks: RunMasks | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Compute attention as every attention function of transformers does, run by run if `run_masks` is given.

    Args:
        module: the attention layer.
        query: (1, heads, tokens, head size).
        key: (1, key-value heads, past + tokens, head size).
        value: (1, key-value heads, past + tokens, head size).
        attention_mask: (1, 1, tokens, past + tokens), added to the attention scores.
        scaling: factor of the attention scores; None for 1 / √(head size).
        run_masks: the runs of the step; None if the model does not pass them on.
        **kwargs: the layer's other arguments, of which `sliding_window` and `position_bias` matter here.

    Returns:
        (1, tokens, heads, head size), and None in the place of attention weights.
    """
    if run_masks is None or attention_mask is None or kwargs.get("position_bias") is not None:
        whole, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return whole, None
    _, heads, n, size = query.shape
    key_heads = key.shape[1]
    groups = heads // key_heads
    attended = query.new_empty(1, n, heads, value.shape[-1])
    for run, keys, mask in run_masks.for_layer(attention_mask, kwargs.get("sliding_window"), groups):
        queries = query[:, :, run.start : run.end].reshape(
            1, key_heads, -1, size
        )  # grouped, so that no key is repeated
        part = _attended(
            queries, key.index_select(2, keys), value.index_select(2, keys), mask, scaling, run_masks.product
        )
        attended[:, run.start : run.end] = part.view(1, heads, run.end - run.start, -1).transpose(1, 2)
    return attended, None


def _attended(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    scaling: float | None,
    product: Product | None,
) -> torch.Tensor:
    """Compute attention under a mask, head by head with `product` if it is given and the products are large."""
    size = query.shape[-1]
    if product is None or query.dtype != torch.float32 or query.shape[2] * key.shape[2] * size < _LEAST_PRODUCT:
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    attended = query.new_empty(*query.shape[:3], value.shape[-1])
    for head in range(query.shape[1]):
        scores = product(query[0, head], key[0, head], None)
        scores.mul_(size**-0.5 if scaling is None else scaling).add_(mask[0, 0])
        attended[0, head] = product(scores.softmax(dim=-1), value[0, head].t(), None)
    return attended


transformers.AttentionInterface.register(_NAME, run_attention)
AttentionMaskInterface.register(_NAME, sdpa_mask)
