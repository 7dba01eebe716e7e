"""Fixtures: pretend GPUs, and small models with their answers on the CPU."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
import transformers

from helpers import scoring_fixtures
from helpers.device_tags import DeviceTags
from helpers.small_models import PACKED

tokenizer = scoring_fixtures.tokenizer


@pytest.fixture
def tags() -> Iterator[DeviceTags]:
    """Two pretend GPUs for the whole test."""
    with DeviceTags() as two:
        yield two


@pytest.fixture(scope="session")
def small_model(tokenizer: transformers.PreTrainedTokenizerFast) -> Callable[[str], transformers.PreTrainedModel]:
    """Return a function that makes a model of an architecture on the CPU; the same weights each time."""
    made: dict[str, transformers.PreTrainedModel] = {}

    def make(name: str) -> transformers.PreTrainedModel:
        if name not in made:
            torch.manual_seed(11)
            made[name] = PACKED[name](len(tokenizer)).eval().requires_grad_(False)
        return copy.deepcopy(made[name])

    return make
