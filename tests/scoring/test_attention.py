"""Attention branch by branch is attention under the tree's mask."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from small_models import PACKED
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from mergekit_calib.scoring import attention
from mergekit_calib.scoring.arrangement import Budget, Requests
from mergekit_calib.scoring.attention import Branches, branches_of, by_branch
from mergekit_calib.scoring.packed import PackedRunner


def packed_step(*sequences: list[int]):
    requests = Requests()
    for sequence in sequences:
        requests.add(sequence, [9], 100)
    (step,) = requests.steps(Budget(1000, 1000))
    return step


def test_a_run_is_a_subtree_or_several_small_ones() -> None:
    step = packed_step([1, 2, 3], [1, 2, 4], [2, 5], [3, 6, 7, 8])
    assert branches_of(step, least=1).runs == ((0, 4, 0), (4, 6, 0), (6, 10, 0))
    assert branches_of(step, least=5).runs == ((0, 6, 0), (6, 10, 0))
    assert branches_of(step, least=50).runs == ((0, 10, 0),)


@pytest.mark.parametrize("window", [None, 6, 3])
@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_it_is_what_sdpa_gives_under_the_mask(window: int | None, key_heads: int) -> None:
    past, n, heads = 7, 12, 4
    draw = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, h, tokens, 8, generator=draw)
        for h, tokens in ((heads, n), (key_heads, past + n), (key_heads, past + n))
    )
    ends, starts = np.repeat([5, 9, 12], [5, 4, 3]), np.repeat([0, 5, 9], [5, 4, 3])
    positions = torch.from_numpy(past + np.arange(n) - starts)
    index = torch.arange(n)
    seen = torch.ones(n, past + n, dtype=torch.bool)
    seen[:, past:] = (index[None, :] <= index[:, None]) & (index[:, None] < torch.from_numpy(ends)[None, :])
    if window is not None:
        seen &= positions[:, None] - torch.cat([torch.arange(past), positions])[None, :] < window
    mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[None, None]
    module = SimpleNamespace(num_key_value_groups=heads // key_heads)
    arguments = (module, query, key, value, mask)
    expected, _ = sdpa_attention_forward(*arguments, scaling=0.3)  # type: ignore[arg-type]
    branches = Branches(past, ((0, 5, past), (5, 9, past), (9, 12, past)))
    found, _ = attention._attend(*arguments, scaling=0.3, branches=branches, sliding_window=window)  # type: ignore[arg-type]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", PACKED)
def test_every_architecture_hands_the_branches_down(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    model = PACKED[name](200).eval()
    together = []

    def whole(*arguments: object, **named: object) -> object:
        together.append(arguments)
        return sdpa_attention_forward(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(attention, "sdpa_attention_forward", whole)
    requests = Requests()
    for first in range(10, 20):
        requests.add(list(range(5, 5 + first)), [1, 2], 100)
    PackedRunner(model, torch.float32).run(requests)
    assert not together


def test_the_models_own_attention_is_back_afterwards() -> None:
    config = transformers.LlamaConfig(attn_implementation="eager")
    with by_branch(config):
        assert config._attn_implementation != "eager"
    assert config._attn_implementation == "eager"
