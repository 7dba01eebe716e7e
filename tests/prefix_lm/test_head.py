"""The output head, computed in blocks of the vocabulary, equals a log-softmax over the whole vocabulary."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import pytest
import torch
import transformers

from helpers.onednn import NEEDS_ONEDNN
from helpers.small_models import PACKED, TEXT
from mergekit_calib.prefix_lm.batch_limits import BatchLimits
from mergekit_calib.prefix_lm.head import OutputHead, forward_replaced
from mergekit_calib.prefix_lm.onednn_products import Product, onednn_product

N_TOKENS = 203
N_HIDDEN = 30
BLOCK_BYTES = 4 * N_HIDDEN * 50  # a block of 50 tokens' logits


def cohere(n: int) -> transformers.PreTrainedModel:
    return transformers.CohereForCausalLM(transformers.CohereConfig(**TEXT, vocab_size=n, logit_scale=0.3))


def gemma2(n: int) -> transformers.PreTrainedModel:
    return transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**TEXT, vocab_size=n, final_logit_softcapping=5.0))


def phi(n: int) -> transformers.PreTrainedModel:
    options = {key: value for key, value in TEXT.items() if key != "head_dim"}
    model = transformers.PhiForCausalLM(transformers.PhiConfig(**options, vocab_size=n))
    torch.nn.init.normal_(model.lm_head.bias)
    return model


class Doubled(torch.nn.Linear):
    """A head that does more than a linear layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def doubled(n: int) -> transformers.PreTrainedModel:
    model = PACKED["llama"](n)
    model.lm_head = Doubled(32, n, bias=False)
    return model


WITH_HEADS = {
    "llama": PACKED["llama"],
    "scaled": cohere,
    "capped": gemma2,
    "with a bias": phi,
    "gpt2": PACKED["gpt2"],
    "more than a linear layer": doubled,
}


@dataclass
class Case:
    """A model, its head, hidden states and all logits after them."""

    model: transformers.PreTrainedModel
    head: OutputHead
    hidden: torch.Tensor
    logits: torch.Tensor


def case(
    name: str,
    block_bytes: int = BLOCK_BYTES,
    softmax_dtype: torch.dtype = torch.float32,
    product: Product | None = None,
) -> Case:
    torch.manual_seed(5)
    model = WITH_HEADS[name](N_TOKENS).eval().requires_grad_(False)
    tokens = torch.randint(N_TOKENS, (1, N_HIDDEN))
    limits = BatchLimits(step_tokens=1024, head_rows=512, block_bytes=block_bytes)
    head = OutputHead(model, softmax_dtype, nullcontext, limits, product)
    outputs = model.base_model(tokens)
    head.output_type = type(outputs)
    return Case(model, head, outputs.last_hidden_state[0], model(tokens).logits[0])


BY_ONEDNN = pytest.param(onednn_product, marks=NEEDS_ONEDNN)


@pytest.mark.parametrize("product", [None, BY_ONEDNN])
@pytest.mark.parametrize("block_bytes", [4 * N_HIDDEN * N_TOKENS, BLOCK_BYTES, 1])
@pytest.mark.parametrize("name", WITH_HEADS)
def test_blocks_give_the_log_softmax_over_the_whole_vocabulary(
    name: str, block_bytes: int, product: Product | None
) -> None:
    given = case(name, block_bytes, product=product)
    rows = torch.randint(N_HIDDEN, (90,))
    tokens = torch.randint(N_TOKENS, (90,))
    tokens[:30] = given.logits.argmax(-1)[rows[:30]]

    scores, greedy = given.head(given.hidden, rows, tokens)

    torch.testing.assert_close(scores, torch.log_softmax(given.logits, -1)[rows, tokens], rtol=1e-5, atol=1e-5)
    assert greedy.tolist() == (given.logits.argmax(-1)[rows] == tokens).tolist()
    assert greedy[:30].all()
    assert not greedy.all()


def test_over_a_large_vocabulary_scores_are_neither_too_high_nor_too_low_on_average() -> None:
    n_tokens, n_hidden = 262_144, 64
    torch.manual_seed(5)
    model = PACKED["llama"](n_tokens).eval().requires_grad_(False)
    model.lm_head.weight.normal_(std=3 / 32**0.5)  # logits with a standard deviation of 3: no token is nearly certain
    hidden, rows, tokens = torch.randn(n_hidden, 32), torch.arange(n_hidden), torch.randint(n_tokens, (n_hidden,))
    head = OutputHead(model, torch.float32, nullcontext, BatchLimits.for_device(hidden.device, attention_by_run=True))
    head.output_type = type(model.base_model(torch.tensor([[0]])))

    scores, _ = head(hidden, rows, tokens)

    exact = torch.log_softmax(hidden.double() @ model.lm_head.weight.double().T, -1)[rows, tokens]
    errors = scores.double() - exact
    # torch.log_softmax in float32 is 3e-5 too high here on a CPU: it loses part of the many small exponentials.
    assert abs(errors.mean()) < 1e-6
    assert errors.abs().max() < 1e-5


def test_of_equally_likely_tokens_the_first_is_the_greedy_one() -> None:
    given = case("llama")
    given.model.lm_head.weight.zero_()

    _, greedy = given.head(given.hidden, torch.tensor([0, 0]), torch.tensor([0, 120]))

    assert greedy.tolist() == [True, False]


def test_results_are_rounded_to_the_softmax_dtype_but_summed_in_float32() -> None:
    given = case("llama", block_bytes=4 * N_HIDDEN * 10, softmax_dtype=torch.bfloat16)
    rows, tokens = torch.arange(N_HIDDEN), torch.arange(N_HIDDEN)

    scores, _ = given.head(given.hidden, rows, tokens)

    assert scores.dtype == torch.bfloat16
    expected = torch.log_softmax(given.logits.bfloat16(), -1)[rows, tokens]
    torch.testing.assert_close(scores, expected, rtol=2**-7, atol=0)


def test_a_nan_in_the_weights_makes_every_score_nan() -> None:
    given = case("llama")
    given.model.lm_head.weight[100] = torch.nan

    scores, _ = given.head(given.hidden, torch.tensor([0]), torch.tensor([3]))

    assert scores.isnan().all()


def test_the_model_is_unchanged_afterwards() -> None:
    given = case("llama")
    given.head(given.hidden, torch.tensor([0]), torch.tensor([3]))

    assert "forward" not in vars(given.model.lm_head) | vars(given.model.base_model)
    assert given.model(torch.tensor([[1, 2, 3]])).logits.shape == (1, 3, N_TOKENS)


def test_a_wrapper_of_forward_is_restored() -> None:
    module = torch.nn.Linear(2, 2)
    own = module.forward = lambda x: x  # as accelerate wraps it, to move the inputs
    with forward_replaced(module, lambda x: x + 1):
        assert module(1) == 2
    assert module.forward is own
