"""Gated feed-forward networks computed by oneDNN equal torch's; networks that compute anything else are left alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers.activations import ACT2FN

from helpers.onednn import NEEDS_ONEDNN
from helpers.small_models import PACKED
from mergekit_calib.prefix_lm.gated_mlp import gated_mlps, mlps_by_onednn

pytestmark = NEEDS_ONEDNN


class Gated(torch.nn.Module):
    """A gated feed-forward network as transformers writes it."""

    def __init__(self, activation: str = "silu", bias: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gate_proj, self.up_proj = torch.nn.Linear(24, 40, bias=bias), torch.nn.Linear(24, 40, bias=bias)
        self.down_proj = torch.nn.Linear(40, 24, bias=bias)
        self.act_fn: Callable[[torch.Tensor], torch.Tensor] = ACT2FN[activation]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class Limited(Gated):
    """A network that differs from a gated one only for large numbers, which a trial might not meet."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act_fn(self.gate_proj(x).clamp(max=1e4)) * self.up_proj(x))


class Swapped(Gated):
    """A network of the same parts in another order."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.gate_proj(x) * self.act_fn(self.up_proj(x)))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["silu", "gelu", "gelu_pytorch_tanh", "relu"])
@pytest.mark.parametrize("shape", [(7, 24), (1, 7, 24), (0, 24)])
def test_a_gated_network_computes_the_same_by_onednn(shape: tuple[int, ...], activation: str, bias: bool) -> None:
    network, x = Gated(activation, bias), 5 * torch.randn(shape)
    with torch.inference_mode():
        expected = network(x)
        with mlps_by_onednn(gated_mlps(network)):
            assert "forward" in vars(network)
            torch.testing.assert_close(network(x), expected)
    assert "forward" not in vars(network)


@pytest.mark.parametrize("network", [Limited(), Swapped(), Gated("mish"), Gated().bfloat16(), Gated().to("meta")])
def test_other_networks_are_left_alone(network: torch.nn.Module) -> None:
    assert gated_mlps(network) == []


def test_a_network_with_a_hook_on_one_of_its_layers_is_left_alone() -> None:
    network = Gated()
    network.up_proj.register_forward_hook(lambda module, given, output: output + 1)
    assert gated_mlps(network) == []


@pytest.mark.parametrize(
    ("name", "n_networks"), [("llama", 2), ("qwen3", 2), ("gemma3", 3), ("gpt2", 0), ("mixtral", 0)]
)
def test_the_networks_of_transformers_are_found_by_their_code(name: str, n_networks: int) -> None:
    torch.manual_seed(0)
    assert len(gated_mlps(PACKED[name](200).eval().base_model)) == n_networks
