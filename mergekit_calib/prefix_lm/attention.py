"""Attention of a packed step, run by run: what other branches hold is not computed to be masked away.

Relied on in transformers 5: `AttentionInterface.register`, and that models hand keyword arguments that they do not
know, and the `sliding_window` of a layer, down to the attention function. Where one does not, all runs are computed
together, under the mask that it is given in any case.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import transformers
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from mergekit_calib.prefix_lm.steps import Run, Step

_NAME = "sdpa_by_run"


class Cut:
    """A step in runs: which keys and which part of the mask each takes, found once for all layers that see alike."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._found: dict[tuple[int | None, int], list[tuple[Run, torch.Tensor, torch.Tensor]]] = {}

    def under(
        self, mask: torch.Tensor, window: int | None, groups: int
    ) -> list[tuple[Run, torch.Tensor, torch.Tensor]]:
        """Each run with (k,) the keys that it takes, and (1, 1, groups × tokens, k) its mask.

        Args:
            mask: (1, 1, tokens, past + tokens), added to the scores; the same for all layers of one window.
            window: how many tokens back a layer's attention reaches; None for all of them.
            groups: query heads that share a key head, and are rows of one product.
        """
        if (window, groups) not in self._found:
            self._found[window, groups] = [
                (run, keys, mask[:, :, run.start : run.end].index_select(-1, keys).repeat(1, 1, groups, 1))
                for run in self._step.runs
                for keys in [self._keys(run, window).to(mask.device)]
            ]
        return self._found[window, groups]

    def _keys(self, run: Run, window: int | None) -> torch.Tensor:
        past = self._step.past
        first = 0 if window is None else min(past, max(0, run.position - window + 1))
        return torch.from_numpy(np.r_[first:past, past + run.path, past + run.start : past + run.end])


@contextmanager
def by_run(config: transformers.PreTrainedConfig) -> Iterator[None]:
    """While it lasts, attention of a model with this configuration looks for a `cut` among its arguments."""
    own = config._attn_implementation
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = own


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    cut: Cut | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """As every attention function of transformers: (1, heads, tokens, size) to (1, tokens, heads, size).

    Args:
        query: (1, heads, tokens, size).
        key, value: (1, key-value heads, past + tokens, size).
        attention_mask: (1, 1, tokens, past + tokens), added to the scores.
    """
    if cut is None or attention_mask is None or kwargs.get("position_bias") is not None:
        found, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return found, None
    _, heads, n, size = query.shape
    key_heads = key.shape[1]
    groups = heads // key_heads
    attended = query.new_empty(1, n, heads, value.shape[-1])
    for run, keys, mask in cut.under(attention_mask, kwargs.get("sliding_window"), groups):
        part = torch.nn.functional.scaled_dot_product_attention(
            query[:, :, run.start : run.end].reshape(1, key_heads, -1, size),  # no key is repeated
            key.index_select(2, keys),
            value.index_select(2, keys),
            attn_mask=mask,
            scale=scaling,
        )
        attended[:, run.start : run.end] = part.view(1, heads, run.end - run.start, -1).transpose(1, 2)
    return attended, None


transformers.AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, sdpa_mask)
