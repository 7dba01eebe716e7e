"""The cache is passed by the name that the model's `forward` has for it, which transformers 5.24 changed."""

from __future__ import annotations

import pytest
import torch
from transformers.cache_utils import DynamicCache

from helpers.small_models import PACKED
from mergekit_calib.prefix_lm.cache import cache_argument


class New(torch.nn.Module):
    def forward(self, input_ids, cache=None): ...


class Old(torch.nn.Module):
    def forward(self, input_ids, past_key_values=None): ...


@pytest.mark.parametrize(("module", "name"), [(New(), "cache"), (Old(), "past_key_values")])
def test_the_name_is_read_from_the_signature_of_forward(module, name) -> None:
    assert cache_argument(module) == name


@pytest.mark.parametrize("name", PACKED)
def test_a_model_fills_the_cache_that_it_is_given_by_that_name(name) -> None:
    body = PACKED[name](259).eval().base_model
    cache = DynamicCache()

    with torch.inference_mode():
        body(input_ids=torch.tensor([[5, 6, 7]]), use_cache=True, **{cache_argument(body): cache})

    assert cache.get_seq_length() == 3
