"""The device of the kit: the first GPU, or the one in MERGEKIT_CALIB_GPU_KIT_DEVICE; `cpu` is a rehearsal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
import torch
import transformers

from helpers import scoring_fixtures
from helpers.device_tags import DeviceTags
from helpers.small_models import PACKED

tokenizer = scoring_fixtures.tokenizer


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The device that is tested."""
    name = os.environ.get("MERGEKIT_CALIB_GPU_KIT_DEVICE") or ("cuda:0" if torch.cuda.is_available() else None)
    if name is None:
        pytest.skip("no GPU here; MERGEKIT_CALIB_GPU_KIT_DEVICE=cpu rehearses")
    return torch.device(name)


@pytest.fixture
def two_devices(device: torch.device) -> Iterator[tuple[torch.device, torch.device]]:
    """Two GPUs; pretend ones in a rehearsal."""
    if device.type == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip("one GPU here, two are needed")
    with nullcontext() if device.type == "cuda" else DeviceTags():
        yield torch.device("cuda", 0), torch.device("cuda", 1)


@pytest.fixture(scope="session")
def small_model(tokenizer: transformers.PreTrainedTokenizerFast) -> Callable[..., transformers.PreTrainedModel]:
    """Return a function that makes a model of an architecture on the CPU; the same weights each time."""

    def make(name: str, dtype: torch.dtype = torch.float32) -> transformers.PreTrainedModel:
        torch.manual_seed(11)
        model: transformers.PreTrainedModel = PACKED[name](len(tokenizer)).eval().requires_grad_(False).to(dtype)
        return model

    return make


@pytest.fixture(autouse=True)
def _exact_products() -> None:
    """Multiply float32 numbers in float32, not in TF32."""
    torch.backends.cuda.matmul.allow_tf32 = False
