"""Weighted sums computed block by block are bit-identical to mergekit's `linear`."""

from __future__ import annotations

import math

import pytest
import torch
from mergekit.merge_methods.base import TensorBatch
from mergekit.merge_methods.linear import linear_merge

from mergekit_calib.merging.fast_linear import BLOCK, WeightedSum, is_bit_identical_to_mergekit

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def tensors(dtype: torch.dtype, shape: tuple[int, ...], n: int = 2) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(5)
    return tuple(torch.randn(shape, generator=generator).to(dtype) for _ in range(n))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(0,), (1,), (7, 3), (BLOCK // 64, 64), (BLOCK // 64 + 3, 64)], ids=str)
@pytest.mark.parametrize(("weights", "normalize"), [((0.6, 0.4), False), ((-1.0, 2.0), False), ((1.0, 0.5, 0.2), True)])
def test_a_weighted_sum_is_bit_identical_to_mergekits_kernel(dtype, shape, weights, normalize):
    inputs = tensors(dtype, shape, len(weights))
    inputs[0].view(-1)[:1] = inputs[1].view(-1)[:1] = -0.0
    batch = TensorBatch(tuple(t.unsqueeze(0) for t in inputs))

    ours = WeightedSum(inputs, weights, normalize, dtype).value()

    theirs = linear_merge.implementation(batch, torch.tensor([weights]), normalize)[0]
    assert ours.shape == theirs.shape
    assert torch.equal(ours.view(torch.uint8), theirs.view(torch.uint8))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("place_dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_weighted_sum_is_computed_in_the_given_tensor_if_that_has_its_dtype(dtype, place_dtype):
    summed = WeightedSum(tensors(dtype, (BLOCK + 5,)), (0.3, 0.7), False, dtype)
    place = torch.empty(BLOCK + 5, dtype=place_dtype)

    blocks = [(block.data_ptr(), block.clone()) for block in summed.blocks(place)]

    assert torch.equal(torch.cat([block for _, block in blocks]), summed.value())
    assert ([at for at, _ in blocks] == [part.data_ptr() for part in place.split(BLOCK)]) == (place_dtype == dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_weighted_sums_on_this_machine_are_bit_identical_to_mergekits(dtype):
    assert is_bit_identical_to_mergekit(dtype, torch.device("cpu"))


def test_a_sum_with_other_bits_is_detected(monkeypatch):
    monkeypatch.setattr(
        WeightedSum, "value", lambda self: sum(w * t for w, t in zip(self.weights, self.tensors, strict=True))
    )
    assert not is_bit_identical_to_mergekit.__wrapped__(torch.bfloat16, torch.device("cpu"))


def test_the_magnitude_bound_holds_and_is_not_finite_if_an_input_is_not():
    inputs = tensors(torch.float32, (1000,))
    magnitudes = tuple(float(t.abs().max()) for t in inputs)
    for weights, normalize in (((0.3, 0.7), False), ((-1.0, 2.0), False), ((0.2, 0.3), True)):
        summed = WeightedSum(inputs, weights, normalize, torch.float32)
        assert float(summed.value().abs().max()) <= summed.magnitude_bound(magnitudes) * 1.000001
    assert math.isnan(WeightedSum(inputs, (0.5, 0.5), False, torch.float32).magnitude_bound((math.nan, 1.0)))
    assert math.isinf(WeightedSum(inputs, (0.5, 0.5), False, torch.float32).magnitude_bound((math.inf, 1.0)))
