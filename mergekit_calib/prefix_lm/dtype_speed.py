"""The speed at which this CPU multiplies matrices in a dtype, measured when it is asked for."""

from __future__ import annotations

import functools
import time

import torch

from mergekit_calib.prefix_lm.onednn_products import faster_product

SLOWDOWN_THRESHOLD = 2.0
"""Slowdown against float32 above which a warning is given."""

_REPEATS = 5  # the fastest counts: the first run prepares threads and kernels, and other programs may run meanwhile


@functools.cache
def slowdown_against_float32(dtype: torch.dtype) -> float:
    """Measure the time that a linear layer takes on this CPU in a dtype, divided by its time in float32.

    A CPU without bfloat16 instructions takes several times as long in bfloat16; one with them takes less time.

    Args:
        dtype: a floating-point dtype.

    Returns:
        The ratio of the two times: 1 for float32 itself, above 1 for a slower dtype.
    """
    return 1.0 if dtype == torch.float32 else _linear_layer_seconds(dtype) / _linear_layer_seconds(torch.float32)


def _linear_layer_seconds(dtype: torch.dtype) -> float:
    """Return the shortest time of several runs, by the library that the scorer uses for this dtype."""
    product = faster_product(dtype, torch.device("cpu")) or torch.nn.functional.linear
    inputs, weight = torch.ones(2, 512, 512, dtype=dtype)
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        product(inputs, weight, None)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
