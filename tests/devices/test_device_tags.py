"""Pretend devices behave as GPUs do where a tensor is on the wrong device."""

from __future__ import annotations

import pytest
import torch

from helpers.device_tags import DeviceTags, WrongDeviceError

FIRST, SECOND = torch.device("cuda", 0), torch.device("cuda", 1)


def test_factories_moves_and_views_have_the_device_that_is_asked_for(tags):
    made = torch.ones(2, 3, device=FIRST)
    assert made.device == made[1:].device == (made * 2).device == torch.zeros_like(made).device == FIRST
    assert made.is_cuda
    assert made.to(SECOND).device == made.cuda(1).device == torch.zeros(1).to(made.to(SECOND)).device == SECOND
    assert made.to(FIRST) is made
    assert made.cpu().device == torch.zeros_like(made, device="cpu").device == torch.device("cpu")
    assert torch.tensor([1.0], device="cuda").device == FIRST
    assert made.new_empty(2).device == FIRST


def test_a_module_moves_with_its_buffers_and_keeps_its_ties(tags):
    module = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2, bias=False))
    module[1].weight = module[0].weight
    module.register_buffer("table", torch.ones(2))
    module.to(device=SECOND, dtype=torch.float64)
    assert {tensor.device for tensor in (*module.parameters(), *module.buffers())} == {SECOND}
    assert module[1].weight is module[0].weight
    assert module(torch.ones(1, 2, dtype=torch.float64, device=SECOND)).device == SECOND


@pytest.mark.parametrize("where", ["cpu", "cuda:1"])
@pytest.mark.parametrize(
    "operation",
    [
        lambda a, b: a + b,
        lambda a, b: torch.cat([a, b]),
        lambda a, b: torch.nn.functional.linear(a, b),
        lambda a, b: a.index_select(0, b[0].long()),
        lambda a, b: torch.where(a > 0, a, b),
        lambda a, b: torch.nn.functional.scaled_dot_product_attention(a[None], b[None], b[None]),
    ],
)
def test_an_operation_on_two_devices_is_refused(tags, where, operation):
    a, b = torch.ones(2, 2, device=FIRST), torch.ones(2, 2, device=where)
    with pytest.raises(WrongDeviceError, match="same device"):
        operation(a, b)
    with torch.inference_mode(), pytest.raises(WrongDeviceError):
        operation(a, b)
    operation(a, torch.zeros(2, 2, device=FIRST))


def test_what_cuda_allows_is_allowed(tags):
    on_gpu = torch.arange(4.0, device=FIRST)
    assert (on_gpu + torch.tensor(1.0)).device == FIRST
    assert on_gpu[torch.tensor([0, 2])].tolist() == [0.0, 2.0]
    with pytest.raises(WrongDeviceError):
        on_gpu[torch.tensor([0, 2], device=SECOND)]
    assert torch.zeros(4).copy_(on_gpu).sum() == 6
    assert float(on_gpu[3]) == 3.0
    with pytest.raises(TypeError, match="numpy"):
        on_gpu.numpy()
    with pytest.raises(WrongDeviceError, match="pin"):
        on_gpu.pin_memory()


def test_tags_end_with_the_block():
    with DeviceTags():
        kept = torch.ones(2, device=FIRST)
    assert (kept + torch.ones(2)).tolist() == [2.0, 2.0]
