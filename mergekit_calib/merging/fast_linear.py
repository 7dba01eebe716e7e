"""Weighted sums of tensors at the speed of memory, bit for bit what mergekit's `linear` gives.

mergekit's kernel passes over memory once for each of its steps, and converts 16-bit weights one by one. Here the same
steps (products and sums in float32, rounded once at the end) are done block by block in the processor's cache.
`gives_mergekits_bits` checks on this machine that the result is the same, before it is used.

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
        """Yield the result, flat, in blocks of `BLOCK` elements; each is valid until the next.

        Args:
            into: a flat tensor to compute the result in, so that the blocks are parts of it. It is not used if it has
                another dtype or device than the result.
        """
        flat = [tensor.reshape(-1) for tensor in self.tensors]
        device, n = flat[0].device, flat[0].numel()
        zeros, scratch, part = _scratch(device)
        in_place = into if into is not None and (into.dtype, into.device) == (self.dtype, device) else None
        result = torch.empty(min(n, BLOCK) if in_place is None else 0, dtype=self.dtype, device=device)
        coefficients = torch.tensor(self.weights, dtype=torch.float32, device=device)
        divisor = coefficients.sum() if self.normalize else None
        for start in range(0, max(n, 1), BLOCK):  # one empty block of an empty tensor, as `split` gives
            k = min(BLOCK, n - start)
            place = result[:k] if in_place is None else in_place[start : start + k]
            total = place if self.dtype == torch.float32 else scratch[:k]
            for i, tensor in enumerate(flat):
                values = tensor[start : start + k]
                if values.dtype != torch.float32:
                    values = part[:k].copy_(values)
                # The sum starts from zero, as in `linear`, so that −0 becomes 0.
                torch.addcmul(total if i else zeros[:k], values, coefficients[i : i + 1], out=total)
            if divisor is not None:
                total.div_(divisor)
            yield place if total is place else place.copy_(total)

    def value(self) -> torch.Tensor:
        """Return the result as a new tensor."""
        return torch.cat([block.clone() for block in self.blocks()]).reshape(self.shape)

    def largest(self, largest_of_inputs: tuple[float, ...]) -> float:
        """Return an upper bound of the result's magnitude, from those of the tensors; not finite if they are not."""
        bound = sum(abs(w) * m for w, m in zip(self.weights, largest_of_inputs, strict=True))
        return bound / abs(sum(self.weights)) if self.normalize else bound


@functools.cache
def _scratch(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return zeros, and space for a sum and for a term. They are kept, since new memory takes longer than the sums."""
    return torch.zeros(BLOCK, device=device), torch.empty(BLOCK, device=device), torch.empty(BLOCK, device=device)


@functools.cache
def gives_mergekits_bits(dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether weighted sums on this machine equal mergekit's bit for bit, tried on numbers of many sizes."""
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
