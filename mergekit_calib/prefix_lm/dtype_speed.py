"""What arithmetic in a dtype costs on the processor that a model is scored on."""

from __future__ import annotations

import functools
import time

import torch

MUCH = 2.0
"""As many times as long as in float32 is worth telling."""


@functools.cache
def times_as_long(dtype: torch.dtype) -> float:
    """How many times as long a processor takes for a linear layer in `dtype` as in float32, tried here and now.

    One without bfloat16 arithmetic takes several times as long; one with it takes less.
    """
    return 1.0 if dtype == torch.float32 else _seconds(dtype) / _seconds(torch.float32)


def _seconds(dtype: torch.dtype) -> float:
    a, b = torch.ones(2, 512, 512, dtype=dtype)
    found = []
    for _ in range(5):  # the best of some: the first makes threads and kernels ready, and others may run beside
        began = time.perf_counter()
        torch.nn.functional.linear(a, b)
        found.append(time.perf_counter() - began)
    return min(found)
