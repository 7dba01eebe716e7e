"""Matrix products by oneDNN instead of the library that torch chooses, on CPUs where that is faster.

In float32 torch multiplies matrices with MKL, which reaches half the speed of the 512-bit instructions of an AMD EPYC
(Zen 5); oneDNN, which torch contains as well, reaches nearly all of it. Both compute in float32, and differ only in the
order of additions. Whether oneDNN is faster is measured, once in each process.

It relies on `torch.ops.mkldnn._linear_pointwise`, which torch's own compiler calls: torch offers no public function
that multiplies ordinary float32 tensors by oneDNN.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

Product = Callable[[torch.Tensor, torch.Tensor, "torch.Tensor | None"], torch.Tensor]
"""A function of (…, inputs), (outputs, inputs) and (outputs,) or None, as `torch.nn.functional.linear`."""

_LEAST_SPEEDUP = 1.25  # well above 1, so that two libraries of equal speed never take turns from run to run
_REPEATS = 30  # of products of a fraction of a millisecond; the fastest counts, since other programs may run meanwhile
_TOLERANCE = 5e-5  # of sums of 512 products of standard normal numbers, relative to their standard deviation


def onednn_product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return what `torch.nn.functional.linear` returns, computed by oneDNN.

    Args:
        x: (…, inputs), float32 on a CPU, not empty.
        weight: (outputs, inputs), of any strides.
        bias: (outputs,), or None.
    """
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


def faster_product(dtype: torch.dtype, device: torch.device) -> Product | None:
    """Return `onednn_product` if this machine computes linear layers faster by it; None if it does not.

    Args:
        dtype: the dtype of the layers.
        device: the device that they are on.
    """
    in_float32 = dtype == torch.float32 and device.type == "cpu"
    return onednn_product if in_float32 and _onednn_is_faster() else None


@functools.cache
def _onednn_is_faster() -> bool:
    """Measure whether oneDNN multiplies clearly faster than torch's own choice here, with the same result."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(128, 512, generator=generator)
    weight = torch.randn(512, 512, generator=generator)
    seconds: dict[Product, list[float]] = {torch.nn.functional.linear: [], onednn_product: []}
    results = []
    with torch.inference_mode():
        for _ in range(_REPEATS):
            for product, measured in seconds.items():
                start = time.perf_counter()
                try:
                    results.append(product(x, weight, None))
                except (AttributeError, RuntimeError):  # this build of torch has no oneDNN
                    return False
                measured.append(time.perf_counter() - start)
    own, onednn = (min(measured) for measured in seconds.values())
    difference = float((results[0] - results[1]).abs().max()) / x.shape[1] ** 0.5
    return difference < _TOLERANCE and own > _LEAST_SPEEDUP * onednn


@contextmanager
def linear_layers_by(product: Product, layers: list[torch.nn.Linear]) -> Iterator[None]:
    """Compute linear layers by `product` within the `with` block.

    Args:
        product: what computes them.
        layers: layers as `plain_linear_layers` returns them.
    """
    try:
        for layer in layers:
            layer.forward = functools.partial(_forward, product, layer)  # type: ignore[method-assign]
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def plain_linear_layers(module: torch.nn.Module) -> list[torch.nn.Linear]:
    """Return the linear layers in a module that do no more than multiply and add a bias, all in float32 on a CPU.

    Args:
        module: any module.
    """
    return [
        layer
        for layer in module.modules()
        if type(layer) is torch.nn.Linear
        and "forward" not in vars(layer)
        and all(p.dtype == torch.float32 and p.device.type == "cpu" for p in layer.parameters())
    ]


def _forward(product: Product, layer: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """Compute a linear layer by `product`."""
    if x.dtype != torch.float32 or not x.numel():
        return torch.nn.functional.linear(x, layer.weight, layer.bias)
    return product(x, layer.weight, layer.bias)
