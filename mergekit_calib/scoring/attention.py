"""Attention of a packed step, branch by branch: what other branches hold is not computed to be masked away.

Relied on in transformers 5: `AttentionInterface.register`, and that models hand keyword arguments that they do not
know, and the `sliding_window` of a layer, down to the attention function. Where one does not, all branches are computed
together, under the mask that it is given in any case.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from mergekit_calib.scoring.arrangement import Step

_NAME = "sdpa_by_branch"
_LEAST_TOKENS = 48  # that are worth a call of their own


@dataclass(frozen=True)
class Branches:
    """A step's tokens in runs that see nothing of one another.

    Attributes:
        past: how many tokens before the step all of them see.
        runs: (start, end, lowest position) of each, in order.
    """

    past: int
    runs: tuple[tuple[int, int, int], ...]


def branches_of(step: Step, least: int = _LEAST_TOKENS) -> Branches:
    """The subtrees at the root of a step, small ones together, so that each run has `least` tokens where it can."""
    runs: list[tuple[int, int, int]] = []
    start = end = 0
    while end < len(step.tokens):
        end = int(step.ends[end])
        if end - start >= least or end == len(step.tokens):
            runs.append((start, end, int(step.positions[start:end].min())))
            start = end
    return Branches(step.past, tuple(runs))


@contextmanager
def by_branch(config: transformers.PreTrainedConfig) -> Iterator[None]:
    """While it lasts, attention of a model with this configuration looks for `branches` among its arguments."""
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
    branches: Branches | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """As every attention function of transformers: (1, heads, tokens, size) to (1, tokens, heads, size).

    Args:
        query: (1, heads, tokens, size).
        key, value: (1, key-value heads, past + tokens, size).
        attention_mask: (1, 1, tokens, past + tokens), added to the scores.
    """
    if branches is None or attention_mask is None or kwargs.get("position_bias") is not None:
        found, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return found, None
    _, heads, n, size = query.shape
    groups = heads // key.shape[1]
    past, window = key.shape[2] - n, kwargs.get("sliding_window")
    parts = []
    for start, end, position in branches.runs:
        first = 0 if window is None else min(past, max(0, position - window + 1))
        # Query heads that share a key head are rows of one product: no key is repeated.
        rows = query[:, :, start:end].reshape(1, key.shape[1], groups * (end - start), size)
        mask = _seen(attention_mask[:, :, start:end], first, past, start, end, dim=-1).repeat(1, 1, groups, 1)
        keys, values = (_seen(x, first, past, start, end, dim=-2) for x in (key, value))
        part = torch.nn.functional.scaled_dot_product_attention(rows, keys, values, attn_mask=mask, scale=scaling)
        parts.append(part.reshape(1, heads, end - start, -1))
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def _seen(x: torch.Tensor, first: int, past: int, start: int, end: int, dim: int) -> torch.Tensor:
    """Of all keys, the past ones from `first` on, and those of a run."""
    own = x.narrow(dim, past + start, end - start)
    return own if first == past else torch.cat([x.narrow(dim, first, past - first), own], dim=dim)


transformers.AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, sdpa_mask)
