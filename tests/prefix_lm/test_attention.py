"""Attention that is computed run by run equals attention of the whole step under its mask."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from helpers.onednn import NEEDS_ONEDNN
from helpers.small_models import PACKED
from mergekit_calib.prefix_lm import attention
from mergekit_calib.prefix_lm.attention import RunMasks, attention_by_run, run_attention
from mergekit_calib.prefix_lm.onednn_products import Product, onednn_product
from mergekit_calib.prefix_lm.packed import PackedRunner
from mergekit_calib.prefix_lm.prefix_tree import TokenRequests
from mergekit_calib.prefix_lm.steps import Step, cheapest_runs


def packed_step(*sequences: list[int]) -> Step:
    requests = TokenRequests()
    for sequence in sequences:
        requests.add(sequence, [9], 100)
    (step,) = requests.steps(1000)
    return step


def test_a_step_is_divided_into_runs_if_that_saves_more_than_a_run_costs() -> None:
    step = packed_step([1, *range(10, 60)], [1, *range(60, 110)], [1, 5])

    assert [(run.start, run.end, run.path.tolist()) for run in step.runs] == [(0, 52, []), (52, 102, [0])]
    assert [(run.start, run.end) for run in cheapest_runs(step, run_cost=10**6)] == [(0, 102)]


BY_ONEDNN = pytest.param(onednn_product, marks=NEEDS_ONEDNN)


@pytest.mark.parametrize("product", [None, BY_ONEDNN])
@pytest.mark.parametrize("scaling", [0.3, None])
@pytest.mark.parametrize("window", [None, 6, 3])
@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_attention_by_run_equals_sdpa_of_the_whole_step(
    window: int | None,
    key_heads: int,
    scaling: float | None,
    product: Product | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attention, "_LEAST_PRODUCT", 0)
    past, n, heads = 7, 12, 4
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, h, tokens, 8, generator=generator)
        for h, tokens in ((heads, n), (key_heads, past + n), (key_heads, past + n))
    )
    # A token that all branches share, and three branches of four, four and three tokens.
    ends = np.repeat([12, 5, 9, 12], [1, 4, 4, 3])
    positions = past + np.r_[0, 1:5, 1:5, 1:4]
    none = np.zeros(0, dtype=np.int64)
    step = Step(past, np.zeros(n, dtype=np.int64), positions, ends, False, none, none, none, none)
    index = torch.arange(n)
    seen = torch.ones(n, past + n, dtype=torch.bool)
    seen[:, past:] = (index[None, :] <= index[:, None]) & (index[:, None] < torch.from_numpy(ends)[None, :])
    if window is not None:
        key_positions = torch.from_numpy(np.r_[:past, positions])
        seen &= key_positions[past:, None] - key_positions[None, :] < window
    mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[None, None]
    module = SimpleNamespace(num_key_value_groups=heads // key_heads)
    arguments = (module, query, key, value, mask)
    expected, _ = sdpa_attention_forward(*arguments, scaling=scaling)  # type: ignore[arg-type]
    runs = cheapest_runs(step, run_cost=1)  # as many runs as there can be
    masks = RunMasks(past, runs, product)
    by_run, _ = run_attention(*arguments, scaling=scaling, run_masks=masks, sliding_window=window)  # type: ignore[arg-type]
    assert len(runs) == 3
    torch.testing.assert_close(by_run, expected)


@pytest.mark.parametrize("name", PACKED)
def test_every_architecture_passes_the_runs_to_its_attention(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    model = PACKED[name](200).eval()
    whole_steps = []

    def whole(*arguments: object, **named: object) -> object:
        whole_steps.append(arguments)
        return sdpa_attention_forward(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(attention, "sdpa_attention_forward", whole)
    requests = TokenRequests()
    for first in range(10, 20):
        requests.add(list(range(5, 5 + first)), [1, 2], 100)
    PackedRunner(model, torch.float32).run(requests)
    assert not whole_steps


def test_the_models_own_attention_is_restored_afterwards() -> None:
    config = transformers.LlamaConfig(attn_implementation="eager")
    with attention_by_run(config):
        assert config._attn_implementation != "eager"
    assert config._attn_implementation == "eager"
