"""The live scorer gives what lm-eval's plain `hf` gives (to 1e-5 nats in fp32), reading fewer logits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from mergekit_calib.errors import CalibError
from mergekit_calib.scoring.model import build_lm, check_model_args

PAIRS = [
    ("The capital of France is", " Paris"),
    ("The capital of France is", " the city of Lyon, or so they say"),
    ("2 + 2 =", " 4"),
    ("2 + 2 =", " 5"),
    ("2 + 2 =", " 4 or 5"),
    ("", "Without a context."),
    ("Ends in a space ", "and goes on"),
    *[("A longer context, with some examples before its question.\n" * 4 + "Answer:", f" {c}") for c in "ABCD"],
]
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}


class NoChoiceOfLogits(transformers.LlamaForCausalLM):
    """A model whose forward pass always gives all logits."""

    def forward(self, input_ids: torch.Tensor, **_: object) -> object:  # type: ignore[override]
        return super().forward(input_ids)


def gemma3_multimodal(n: int) -> transformers.PreTrainedModel:
    vision = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
        "vision_use_head": False,
    }
    text = {**TEXT, "vocab_size": n, "sliding_window": 16, "query_pre_attn_scalar": 8}
    config = transformers.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=n - 1, initializer_range=0.3
    )
    return transformers.Gemma3ForConditionalGeneration(config)


ARCHITECTURES: dict[str, Callable[[int], transformers.PreTrainedModel]] = {
    "llama": lambda n: transformers.LlamaForCausalLM(transformers.LlamaConfig(**TEXT, vocab_size=n)),
    "qwen3": lambda n: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**TEXT, vocab_size=n)),
    "gemma3-multimodal": gemma3_multimodal,
    "all-logits": lambda n: NoChoiceOfLogits(transformers.LlamaConfig(**TEXT, vocab_size=n)),
}


@pytest.fixture(scope="module")
def models(tokenizer) -> dict[str, transformers.PreTrainedModel]:
    torch.manual_seed(11)
    return {name: make(len(tokenizer)).eval() for name, make in ARCHITECTURES.items()}


def requests(pairs: list[tuple[str, str]] = PAIRS) -> list[Instance]:
    return [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]


def assert_same(mine: list[tuple[float, bool]], theirs: list[tuple[float, bool]]) -> None:
    assert [greedy for _, greedy in mine] == [greedy for _, greedy in theirs]
    # Beside 1e-5, a unit in the last place: fp32 has no finer numbers around the −200 nats of a long answer.
    assert [score for score, _ in mine] == pytest.approx([score for score, _ in theirs], abs=1e-4)


@pytest.mark.parametrize("batch_size", [1, 4, 64, "auto"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_scores_are_those_of_hf(models, tokenizer, name, batch_size) -> None:
    plain = HFLM(pretrained=models[name], tokenizer=tokenizer, batch_size=4)

    live = build_lm(models[name], tokenizer, batch_size=batch_size, model_args={"max_batch_size": 8})

    assert_same(live.loglikelihood(requests()), plain.loglikelihood(requests()))


def test_greedy_answers_are_seen(models, tokenizer) -> None:
    plain = HFLM(pretrained=models["llama"], tokenizer=tokenizer)
    context = tokenizer("2 + 2 =", return_tensors="pt").input_ids
    with torch.no_grad():
        best = models["llama"].generate(context, max_new_tokens=1, do_sample=False)[0, -1]
    pairs = [("2 + 2 =", tokenizer.decode(best)), ("2 + 2 =", " 4")]

    answers = build_lm(models["llama"], tokenizer).loglikelihood(requests(pairs))

    assert_same(answers, plain.loglikelihood(requests(pairs)))
    assert [greedy for _, greedy in answers] == [True, False]


def test_prompts_beyond_the_models_length_lose_their_beginning_as_in_hf(models, tokenizer) -> None:
    plain = HFLM(pretrained=models["llama"], tokenizer=tokenizer, batch_size=4, max_length=40)
    live = build_lm(models["llama"], tokenizer, batch_size=4, model_args={"max_length": 40})

    with pytest.warns(UserWarning, match=r"5 of 11 requests are longer than the model's 40 tokens"):
        answers = live.loglikelihood(requests())

    assert_same(answers, plain.loglikelihood(requests()))


def test_rolling_log_likelihoods_are_those_of_hf(models, tokenizer) -> None:
    texts = [Instance("loglikelihood_rolling", {}, ("Some text over several windows. " * n,), 0) for n in (1, 3)]
    plain = HFLM(pretrained=models["llama"], tokenizer=tokenizer, batch_size=2, max_length=32)
    live = build_lm(models["llama"], tokenizer, batch_size=2, model_args={"max_length": 32})

    assert live.loglikelihood_rolling(texts) == pytest.approx(plain.loglikelihood_rolling(texts), abs=1e-4)


def test_a_beginning_of_sentence_token_is_added_as_in_hf(models, tokenizer) -> None:
    plain = HFLM(pretrained=models["llama"], tokenizer=tokenizer, add_bos_token=True)
    live = build_lm(models["llama"], tokenizer, model_args={"add_bos_token": True})

    assert_same(live.loglikelihood(requests()), plain.loglikelihood(requests()))


def test_the_output_head_sees_only_the_ends_of_inputs(models, tokenizer) -> None:
    model, seen = models["llama"], []
    hook = model.lm_head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    pairs = [("A context of many more tokens than its answer has.", f" {c}") for c in "ABCD"]

    build_lm(model, tokenizer, batch_size=4).loglikelihood(requests(pairs))
    hook.remove()

    # One input for the four answers, which are a space and a letter: two positions.
    assert seen == [torch.Size([1, 2, 32])]


def test_a_detected_batch_size_is_found_once_and_handed_on(models, tokenizer) -> None:
    pairs = [(f"Of {i + 10} questions, the first is this one:", f" {c}") for i in range(8) for c in "ABCD"]
    live = build_lm(models["llama"], tokenizer, batch_size="auto", model_args={"max_batch_size": 4})
    live.loglikelihood(requests(pairs))
    calls: list[torch.Size] = []
    hook = models["llama"].register_forward_pre_hook(lambda _, inputs: calls.append(inputs[0].shape))

    again = build_lm(models["llama"], tokenizer, batch_size="auto")
    again.detected_batch_sizes = live.detected_batch_sizes
    again.loglikelihood(requests(pairs))
    hook.remove()

    length = len("Of 10 questions, the first is this one: ")
    assert live.detected_batch_sizes == {(length, 2): 4}
    assert calls == [torch.Size([4, length])] * 2


@pytest.mark.parametrize(("text", "length"), [("", 0), ("x" * 513, 513)])
def test_an_answer_that_no_model_can_score_is_named(models, tokenizer, text, length) -> None:
    with pytest.raises(CalibError, match=f"is {length} tokens to this tokenizer; between 1 and .* 512"):
        build_lm(models["llama"], tokenizer).loglikelihood(requests([("A context", text)]))


def test_model_args_that_a_live_model_cannot_take_are_named() -> None:
    check_model_args({"dtype": "float32", "max_length": 100})
    with pytest.raises(CalibError, match=r"model_args\.max_lenght .*'max_length'"):
        check_model_args({"max_lenght": 100})
    with pytest.raises(CalibError, match=r"model_args\.parallelize is not one that a live model can take"):
        check_model_args({"parallelize": True})
