"""Linear layers computed by oneDNN equal torch's, and so do a model's scores, whichever library is faster here."""

from __future__ import annotations

import pytest
import torch
from lm_eval.api.instance import Instance

from helpers.onednn import NEEDS_ONEDNN
from helpers.small_models import PACKED
from mergekit_calib.prefix_lm import attention, packed
from mergekit_calib.prefix_lm.model import build_lm
from mergekit_calib.prefix_lm.onednn_products import (
    faster_product,
    linear_layers_by,
    onednn_product,
    plain_linear_layers,
)

pytestmark = NEEDS_ONEDNN

EXAMPLES = "A longer context, with some examples before its question.\n" * 4
PAIRS = [(EXAMPLES + question, f" {c}") for question in ("Answer:", "Or another:", "So") for c in ("A", "B or C", "D")]


class Doubled(torch.nn.Linear):
    """A layer that does more than a linear layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 24), (1, 7, 24), (2, 3, 24), (24,), (0, 24)])
def test_a_layer_computes_the_same_by_onednn(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(24, 40, bias=bias), torch.randn(shape)
    with torch.inference_mode():
        expected = layer(x)
        with linear_layers_by(onednn_product, plain_linear_layers(layer)):
            torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("x", [torch.randn(6, 48)[:, ::2], torch.randn(24, 6).T])
def test_inputs_and_weights_may_have_any_strides(x: torch.Tensor) -> None:
    for weight in (torch.randn(24, 40).T, torch.randn(80, 24)[::2], torch.randn(40, 48)[:, 24:]):
        torch.testing.assert_close(onednn_product(x, weight), torch.nn.functional.linear(x, weight))


def test_layers_see_weights_that_are_set_in_place() -> None:
    layer, x = torch.nn.Linear(24, 40).requires_grad_(False), torch.randn(5, 24)
    with linear_layers_by(onednn_product, [layer]):
        layer(x)
        layer.weight.mul_(3)
        torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))


def test_only_plain_float32_layers_are_computed_by_onednn_and_they_are_restored() -> None:
    wrapped = torch.nn.Linear(4, 4)
    wrapped.forward = lambda x: x  # type: ignore[method-assign]  # as accelerate wraps it, to move the inputs
    module = torch.nn.ModuleList([torch.nn.Linear(4, 4), Doubled(4, 4), wrapped, torch.nn.Linear(4, 4).bfloat16()])
    layers = plain_linear_layers(module)
    assert layers == [module[0]]
    with linear_layers_by(onednn_product, layers):
        assert "forward" in vars(module[0])
    assert "forward" not in vars(module[0])


@pytest.mark.parametrize(
    ("dtype", "device"), [(torch.bfloat16, "cpu"), (torch.float64, "cpu"), (torch.float32, "meta")]
)
def test_torch_chooses_the_library_in_other_dtypes_and_on_other_devices(dtype: torch.dtype, device: str) -> None:
    assert faster_product(dtype, torch.device(device)) is None


@pytest.mark.parametrize("product", [onednn_product, None])
@pytest.mark.parametrize("name", PACKED)
def test_scores_are_those_of_an_ordinary_forward_pass_with_either_library(
    models, tokenizer, name, product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "faster_product", lambda dtype, device: product)
    monkeypatch.setattr(attention, "_LEAST_PRODUCT", 0)
    model = models[name]
    lm = build_lm(model, tokenizer)
    lm.batch_limits.step_tokens = 48
    asked = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(PAIRS)]
    expected = []
    for context, continuation in PAIRS:
        given, answer = lm._encode_pair(context, continuation)
        with torch.inference_mode():
            logits = model(torch.tensor([given + answer])).logits[0, len(given) - 1 : -1]
        expected.append(float(logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum()))

    assert lm.fallback_reason is None
    assert [score for score, _ in lm.loglikelihood(asked)] == pytest.approx(expected, abs=1e-4)
