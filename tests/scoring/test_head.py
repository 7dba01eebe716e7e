"""The head reads blocks of the vocabulary, and gives what a log-softmax over all of it gives."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import transformers

from helpers.small_models import PACKED, TEXT
from mergekit_calib.prefix_lm import head as head_module
from mergekit_calib.prefix_lm.batch_limits import Sizes
from mergekit_calib.prefix_lm.head import Head

N_TOKENS = 203
CPU = torch.device("cpu")


def cohere(n: int) -> transformers.PreTrainedModel:
    return transformers.CohereForCausalLM(transformers.CohereConfig(**TEXT, vocab_size=n, logit_scale=0.3))


def gemma2(n: int) -> transformers.PreTrainedModel:
    return transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**TEXT, vocab_size=n, final_logit_softcapping=5.0))


def phi(n: int) -> transformers.PreTrainedModel:
    few = {key: value for key, value in TEXT.items() if key != "head_dim"}
    model = transformers.PhiForCausalLM(transformers.PhiConfig(**few, vocab_size=n))
    torch.nn.init.normal_(model.lm_head.bias)
    return model


WITH_HEADS = {"llama": PACKED["llama"], "scaled": cohere, "capped": gemma2, "with a bias": phi, "gpt2": PACKED["gpt2"]}


def set_up(name: str, softmax_dtype: torch.dtype = torch.float32) -> tuple[Head, torch.Tensor, torch.Tensor]:
    """A head, hidden states of its model, and all logits after them."""
    torch.manual_seed(5)
    model = WITH_HEADS[name](N_TOKENS).eval().requires_grad_(False)
    tokens = torch.randint(N_TOKENS, (1, 30))
    head = Head(model, softmax_dtype, nullcontext, Sizes.on(CPU, True))
    outputs = model.base_model(tokens)
    head.output_type = type(outputs)
    return head, outputs.last_hidden_state[0], model(tokens).logits[0]


@pytest.mark.parametrize("block_bytes", [4 * 30 * N_TOKENS, 4 * 30 * 50, 1])
@pytest.mark.parametrize("name", WITH_HEADS)
def test_blocks_of_the_vocabulary_give_the_log_softmax_of_all_of_it(name: str, block_bytes: int) -> None:
    head, hidden, logits = set_up(name)
    head._sizes.block_bytes = block_bytes
    rows = torch.randint(len(hidden), (90,))
    tokens = torch.randint(N_TOKENS, (90,))
    tokens[:30] = logits.argmax(-1)[rows[:30]]

    scores, greedy = head(hidden, rows, tokens)

    torch.testing.assert_close(scores, torch.log_softmax(logits, -1)[rows, tokens], rtol=1e-5, atol=1e-5)
    assert greedy.tolist() == (logits.argmax(-1)[rows] == tokens).tolist()
    assert greedy[:30].all()
    assert not greedy.all()


def test_of_equally_likely_tokens_the_first_is_the_greedy_one() -> None:
    head, hidden, _ = set_up("llama")
    head._linear.weight.zero_()
    head._sizes.block_bytes = 4 * 30 * 50
    rows = torch.tensor([0, 0])

    _, greedy = head(hidden, rows, torch.tensor([0, 120]))

    assert greedy.tolist() == [True, False]


def test_a_narrow_softmax_dtype_is_that_of_the_results_and_sums_are_wide() -> None:
    head, hidden, logits = set_up("llama", torch.bfloat16)
    head._sizes.block_bytes = 4 * 30 * 10
    rows, tokens = torch.arange(30), torch.arange(30)

    scores, _ = head(hidden, rows, tokens)

    assert scores.dtype == torch.bfloat16
    expected = torch.log_softmax(logits.bfloat16(), -1)[rows, tokens]
    torch.testing.assert_close(scores, expected, rtol=2**-7, atol=0)


def test_weights_that_are_not_numbers_are_not_hidden() -> None:
    head, hidden, _ = set_up("llama")
    head._linear.weight[100] = torch.nan
    head._sizes.block_bytes = 4 * 30 * 50

    scores, _ = head(hidden, torch.tensor([0]), torch.tensor([3]))

    assert scores.isnan().all()


def test_a_head_that_is_more_than_a_linear_layer_does_its_own_work() -> None:
    class Doubled(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    torch.manual_seed(5)
    model = PACKED["llama"](N_TOKENS).eval().requires_grad_(False)
    model.lm_head = Doubled(32, N_TOKENS, bias=False)
    tokens = torch.randint(N_TOKENS, (1, 12))
    head = Head(model, torch.float32, nullcontext, Sizes.on(CPU, True))
    outputs = model.base_model(tokens)
    head.output_type = type(outputs)

    scores, _ = head(outputs.last_hidden_state[0], torch.arange(12), tokens[0])

    expected = torch.log_softmax(model(tokens).logits[0], -1)[torch.arange(12), tokens[0]]
    torch.testing.assert_close(scores, expected)


def test_afterwards_the_model_is_itself_again() -> None:
    head, hidden, _ = set_up("llama")
    model = head._model
    head(hidden, torch.tensor([0]), torch.tensor([3]))

    assert "forward" not in vars(model.lm_head) | vars(model.base_model)
    assert model(torch.tensor([[1, 2, 3]])).logits.shape == (1, 3, N_TOKENS)


def test_something_put_around_a_forward_is_put_back() -> None:
    module = torch.nn.Linear(2, 2)
    own = module.forward = lambda x: x  # as accelerate does, to move what goes in
    with head_module.forward_replaced(module, lambda x: x + 1):
        assert module(1) == 2
    assert module.forward is own
