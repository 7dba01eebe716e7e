"""How fast the CPU multiplies matrices in a dtype, measured on the spot."""

from __future__ import annotations

import functools
import time

import torch

SLOWDOWN_THRESHOLD = 2.0
"""Slowdown against float32 above which a warning is given."""

_REPEATS = 5  # the fastest counts: the first run prepares threads and kernels, and other programs may run meanwhile


@functools.cache
def slowdown_against_float32(dtype: torch.dtype) -> float:
    """Measure how many times as long as in float32 a linear layer takes on this CPU.

    A CPU without bfloat16 instructions takes several times as long in bfloat16; one with them takes less time.

    Args:
        dtype: a floating-point dtype.

    Returns:
        The ratio of the two times: 1 for float32 itself, above 1 for a slower dtype.
    """
    return 1.0 if dtype == torch.float32 else _linear_layer_seconds(dtype) / _linear_layer_seconds(torch.float32)


def _linear_layer_seconds(dtype: torch.dtype) -> float:
    inputs, weight = torch.ones(2, 512, 512, dtype=dtype)
    seconds = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        torch.nn.functional.linear(inputs, weight)
        seconds.append(time.perf_counter() - began)
    return min(seconds)
