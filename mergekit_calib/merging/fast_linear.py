"""Weighted sums of tensors, as fast as memory can be read, with results bit-identical to mergekit's `linear`.

mergekit's kernel makes a pass over memory for each of its steps. Here the same steps (products and sums in float32,
rounded once at the end) are done block by block in the processor's cache. Before this is used,
`is_bit_identical_to_mergekit` checks on this machine that the results are the same.

Relies on mergekit 0.1.5 for the arithmetic of `merge_methods.linear.linear_merge`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from mergekit.merge_methods.base import TensorBatch
from mergekit.merge_methods.linear import linear_merge

BLOCK = 1 << 18  # elements; in float32, with the scratch space, about the size of a core's cache


@dataclass(frozen=True)
class WeightedSum:
    """Σ weightᵢ · tensorᵢ, not yet computed.

    Attributes:
        tensors: the tensors, of one shape, dtype (float32, bfloat16 or float16) and device, on which the sum is
            computed.
        weights: the weight of each tensor.
        normalize: whether the sum is divided by the sum of the weights.
        dtype: the dtype of the result.
    """

    tensors: tuple[torch.Tensor, ...]
    weights: tuple[float, ...]
    normalize: bool
    dtype: torch.dtype

    @property
    def shape(self) -> torch.Size:
        """The shape of the result."""
        return self.tensors[0].shape

    def blocks(self, into: torch.Tensor | None = None) -> Iterator[torch.Tensor]:
        """Yield the result, flat, in blocks of `BLOCK` elements; a block is overwritten when the next is asked for.

        Args:
            into: a flat tensor to compute the result in, so that the blocks are views of it. It is ignored if its dtype
                or device is not the result's.
        """
        flat = [tensor.reshape(-1) for tensor in self.tensors]
        device, n = flat[0].device, flat[0].numel()
        zeros, sum_buffer, term_buffer = _buffers(device)
        in_place = into if into is not None and (into.dtype, into.device) == (self.dtype, device) else None
        result = torch.empty(min(n, BLOCK) if in_place is None else 0, dtype=self.dtype, device=device)
        coefficients = torch.tensor(self.weights, dtype=torch.float32, device=device)
        divisor = coefficients.sum() if self.normalize else None
        for start in range(0, max(n, 1), BLOCK):  # an empty tensor has one empty block, as in `torch.split`
            k = min(BLOCK, n - start)
            place = result[:k] if in_place is None else in_place[start : start + k]
            total = place if self.dtype == torch.float32 else sum_buffer[:k]
            for i, tensor in enumerate(flat):
                values = tensor[start : start + k]
                if values.dtype != torch.float32:
                    values = term_buffer[:k].copy_(values)
                # The sum starts from zero, as in `linear`, so that −0 becomes 0.
                torch.addcmul(total if i else zeros[:k], values, coefficients[i : i + 1], out=total)
            if divisor is not None:
                total.div_(divisor)
            yield place if total is place else place.copy_(total)

    def value(self) -> torch.Tensor:
        """Return the result as a new tensor."""
        return torch.cat([block.clone() for block in self.blocks()]).reshape(self.shape)

    def magnitude_bound(self, magnitudes: tuple[float, ...]) -> float:
        """Return an upper bound of the magnitudes in the result; NaN or infinity if one of `magnitudes` is.

        Args:
            magnitudes: the greatest magnitude in each of the tensors.
        """
        bound = sum(abs(w) * m for w, m in zip(self.weights, magnitudes, strict=True))
        return bound / abs(sum(self.weights)) if self.normalize else bound


@functools.cache
def _buffers(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a block of zeros, a buffer for a sum and one for a term.

    They are cached, because allocating memory takes longer than computing the sums.
    """
    return torch.zeros(BLOCK, device=device), torch.empty(BLOCK, device=device), torch.empty(BLOCK, device=device)


@functools.cache
def is_bit_identical_to_mergekit(dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether weighted sums equal mergekit's bit for bit here, in a trial with numbers of many sizes."""
    generator = torch.Generator().manual_seed(0)
    sizes = 10 ** torch.linspace(-8, 2, 50_003)
    tensors = tuple((torch.randn(50_003, generator=generator) * sizes).to(dtype).to(device) for _ in range(2))
    tensors[0][:4], tensors[1][:4] = torch.tensor([0.0, -0.0, 0.0, -0.0]), torch.tensor([0.0, -0.0, -0.0, 0.0])
    for weights, normalize in (((0.7, 0.3), False), ((-0.3, 1.3), False), ((0.9, 0.3), True)):
        batch = TensorBatch(tuple(tensor.unsqueeze(0) for tensor in tensors))
        theirs = linear_merge.implementation(batch, torch.tensor([weights], device=device), normalize)[0]
        ours = WeightedSum(tensors, weights, normalize, dtype).value()
        if not torch.equal(theirs.view(torch.uint8), ours.view(torch.uint8)):
            return False
    return True
