"""`hf-prefix` gives the scores of lm-eval's `hf` (to 1e-4 nats in float32); tokens that requests share are run once."""

from __future__ import annotations

import copy
import inspect
import warnings

import pytest
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from helpers.small_models import PACKED, PLAIN, TEXT, long_rope
from mergekit_calib.errors import CalibError
from mergekit_calib.prefix_lm import model as model_module
from mergekit_calib.prefix_lm.compatibility import rotary_length_limit
from mergekit_calib.prefix_lm.dtype_speed import slowdown_against_float32
from mergekit_calib.prefix_lm.model import PrefixLM, build_lm
from mergekit_calib.prefix_lm.model_args import check_model_args
from mergekit_calib.prefix_lm.shared_trees import SharedPrefixTrees

EXAMPLES = "A longer context, with some examples before its question.\n" * 4
PAIRS = [
    ("The capital of France is", " Paris"),
    ("The capital of France is", " the city of Lyon, or so they say"),
    ("2 + 2 =", " 4"),
    ("2 + 2 =", " 5"),
    ("2 + 2 =", " 4 or 5"),
    ("", "Without a context."),
    ("Ends in a space ", "and goes on"),
    *[(EXAMPLES + "Answer:", f" {c}") for c in "ABCD"],
    *[(EXAMPLES + "Or another:", f" {c}") for c in ("A", "Be")],
]


def requests(pairs: list[tuple[str, str]] = PAIRS) -> list[Instance]:
    return [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]


def assert_equal(ours: list[tuple[float, bool]], theirs: list[tuple[float, bool]]) -> None:
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]
    # float32 numbers near −200, the log-likelihood of a long answer, are 1.5e-5 apart.
    assert [score for score, _ in ours] == pytest.approx([score for score, _ in theirs], abs=1e-4)


@pytest.mark.parametrize("step_tokens", [512, 48, 5])
@pytest.mark.parametrize("name", PACKED)
def test_scores_are_those_of_hf(models, tokenizer, name, step_tokens) -> None:
    plain = HFLM(pretrained=models[name], tokenizer=tokenizer, batch_size=4)

    packed = build_lm(models[name], tokenizer)
    packed.batch_limits.step_tokens = step_tokens

    assert packed.fallback_reason is None
    assert_equal(packed.loglikelihood(requests()), plain.loglikelihood(requests()))


CHAT = [
    {"role": role, "content": f"{i} of some words that every prompt begins with, as with few-shot examples."}
    for i, role in enumerate(["user", "assistant"] * 2)
]
QUESTIONS = ["And what is blue?", "What is 2 + 2?", "Who?"]


@pytest.mark.parametrize("step_tokens", [1024, 100])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma3", "gpt-neox"])
def test_after_the_long_shared_prefix_of_a_chat_only_rounding_tells_scores_from_those_of_hf_in_float64(
    models, tokenizer, name, step_tokens
) -> None:
    exact = copy.deepcopy(models[name]).double()
    plain = HFLM(pretrained=exact, tokenizer=tokenizer, batch_size=1, softmax_dtype="float64")
    prompts = [plain.apply_chat_template([*CHAT, {"role": "user", "content": text}]) for text in QUESTIONS]
    asked = requests([(prompt, answer) for prompt in prompts for answer in ("the sky", "4", "five or so")])
    theirs = [score for score, _ in plain.loglikelihood(asked)]

    for model, softmax_dtype, tolerance in ((exact, "float64", 1e-10), (models[name], "float32", 1e-4)):
        packed = build_lm(model, tokenizer, model_args={"softmax_dtype": softmax_dtype})
        packed.batch_limits.step_tokens = step_tokens
        assert [score for score, _ in packed.loglikelihood(asked)] == pytest.approx(theirs, abs=tolerance)
        assert packed.tokenize(asked).longest > 350


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_scores_are_those_of_hf_with_sdpa_and_with_eager_attention(models, tokenizer, attention) -> None:
    model = models["gemma3"]
    given = model.config._attn_implementation
    model.set_attn_implementation(attention)
    try:
        packed, plain = build_lm(model, tokenizer), HFLM(pretrained=model, tokenizer=tokenizer)
        assert packed.fallback_reason is None
        assert_equal(packed.loglikelihood(requests()), plain.loglikelihood(requests()))
    finally:
        model.set_attn_implementation(given)


@pytest.mark.parametrize("name", PLAIN)
def test_a_model_that_cannot_run_in_packed_steps_is_scored_as_hf_scores_it_and_warns_why(
    models, tokenizer, name
) -> None:
    plain = HFLM(pretrained=models[name], tokenizer=tokenizer, batch_size=4)

    with pytest.warns(UserWarning, match="scored as lm-eval's `hf` model does, because"):
        packed = build_lm(models[name], tokenizer, batch_size=4)

    assert packed.fallback_reason
    assert_equal(packed.loglikelihood(requests()), plain.loglikelihood(requests()))


class LooksBack(transformers.LlamaForCausalLM):
    """A model whose tokens depend on a sum that no cache holds, though its class seems to be transformers' own."""

    __module__ = "transformers.models.llama.modeling_llama"

    def forward(self, input_ids: torch.Tensor, **kwargs: object) -> object:  # type: ignore[override]
        shift = self.get_input_embeddings()(input_ids).cumsum(1)
        return super().forward(inputs_embeds=shift, **kwargs)

    forward.__signature__ = inspect.signature(transformers.LlamaForCausalLM.forward)  # type: ignore[attr-defined]


def test_a_model_whose_packed_scores_differ_is_detected_on_first_use(tokenizer) -> None:
    torch.manual_seed(2)
    model = LooksBack(transformers.LlamaConfig(**TEXT, vocab_size=len(tokenizer))).eval()
    plain = HFLM(pretrained=model, tokenizer=tokenizer)

    with pytest.warns(UserWarning, match="because packed steps do not give its log-likelihoods"):
        packed = build_lm(model, tokenizer)

    assert_equal(packed.loglikelihood(requests()), plain.loglikelihood(requests()))


def test_steps_are_halved_until_they_fit_in_memory(models, tokenizer) -> None:
    model, sizes = models["llama"], []

    def refuse(_: object, args: tuple[torch.Tensor]) -> None:
        sizes.append(args[0].shape[1])
        if sizes[-1] > 40:
            raise torch.cuda.OutOfMemoryError

    packed = build_lm(model, tokenizer)
    hook = model.model.embed_tokens.register_forward_pre_hook(refuse)
    answers = packed.loglikelihood(requests())
    hook.remove()

    assert max(sizes) > 40
    assert 20 < sizes[-1] <= 40
    assert_equal(answers, HFLM(pretrained=model, tokenizer=tokenizer).loglikelihood(requests()))


def test_requests_answered_before_memory_ran_out_are_not_run_again(models, tokenizer) -> None:
    model, sizes, counts = models["llama"], [], []
    packed = build_lm(model, tokenizer)
    packed.batch_limits.step_tokens, packed.batch_limits.head_rows = 80, 1

    def refuse_once(_: object, args: tuple[torch.Tensor]) -> None:
        sizes.append(args[0].shape[1])
        if len(sizes) == 4:
            raise torch.cuda.OutOfMemoryError

    packed.on_answers = counts.append
    hook = model.model.embed_tokens.register_forward_pre_hook(refuse_once)
    answers = packed.loglikelihood(requests())
    hook.remove()

    everything_again = sum(len(step.tokens) for step in packed.tokenize(requests()).steps(40))
    assert 0 < sum(sizes[4:]) < everything_again
    assert sum(counts) == len(requests())
    assert_equal(answers, HFLM(pretrained=model, tokenizer=tokenizer).loglikelihood(requests()))


def test_requests_are_tokenised_once_for_all_models(models, tokenizer, monkeypatch) -> None:
    shared = SharedPrefixTrees()
    first = build_lm(models["llama"], tokenizer, prefix_trees=shared).loglikelihood(requests())

    def fail(*_: object) -> None:
        raise AssertionError("tokenised again")

    monkeypatch.setattr(PrefixLM, "tok_encode", fail)
    assert build_lm(models["llama"], tokenizer, prefix_trees=shared).loglikelihood(requests()) == first
    other = build_lm(models["qwen3"], tokenizer, prefix_trees=shared).loglikelihood(requests())
    assert other != first
    with pytest.raises(AssertionError, match="tokenised again"):
        build_lm(models["llama"], copy.deepcopy(tokenizer), prefix_trees=shared).loglikelihood(requests())


@pytest.mark.parametrize("lengths", [(64, 512), (512, 64)])
@pytest.mark.filterwarnings("ignore:6 of 13 requests are longer")
def test_models_with_different_maximum_lengths_cut_prompts_differently(models, tokenizer, lengths) -> None:
    shared = SharedPrefixTrees()
    for length in lengths:
        arguments = {"max_length": length}
        packed = build_lm(models["llama"], tokenizer, prefix_trees=shared, model_args=arguments)
        plain = HFLM(pretrained=models["llama"], tokenizer=tokenizer, **arguments)
        assert_equal(packed.loglikelihood(requests()), plain.loglikelihood(requests()))


def test_requests_are_tokenised_again_for_another_prefix_token(models, tokenizer) -> None:
    shared = SharedPrefixTrees()
    for prefix in (0, 1):
        arguments = {"prefix_token_id": prefix}
        packed = build_lm(models["llama"], tokenizer, prefix_trees=shared, model_args=arguments)
        plain = HFLM(pretrained=models["llama"], tokenizer=tokenizer, **arguments)
        assert_equal(packed.loglikelihood(requests()), plain.loglikelihood(requests()))


def test_inputs_that_get_another_rotary_embedding_are_scored_as_hf_scores_them(tokenizer) -> None:
    torch.manual_seed(5)
    model = long_rope(len(tokenizer)).eval()
    plain, packed = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1), build_lm(model, tokenizer, batch_size=1)
    rolling = [Instance("loglikelihood_rolling", {}, ("Some text over some windows. " * 20,), 0)]
    short = requests([pair for pair in PAIRS if len("".join(pair)) < 100])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_equal(packed.loglikelihood(short), plain.loglikelihood(short))
    with pytest.warns(UserWarning, match=r"of up to 2\d\d tokens are .* another rotary embedding beyond 128"):
        answers = packed.loglikelihood(requests())
    with pytest.warns(UserWarning, match="of up to 512 tokens"):
        whole = packed.loglikelihood_rolling(rolling)

    assert packed.fallback_reason is None
    assert_equal(answers, plain.loglikelihood(requests()))
    assert whole == pytest.approx(plain.loglikelihood_rolling(rolling), abs=1e-4)


@pytest.mark.parametrize(
    ("parameters", "length"),
    [
        (None, None),
        ({"rope_type": "default"}, None),
        ({"rope_type": "yarn", "original_max_position_embeddings": 64}, None),
        ({"rope_type": "dynamic", "factor": 4.0}, 512),
        ({"rope_type": "longrope", "original_max_position_embeddings": 64}, 64),
        ({"full_attention": {"rope_type": "longrope", "original_max_position_embeddings": 64}, "other": None}, 64),
    ],
)
def test_the_length_beyond_which_a_rotary_embedding_changes(models, monkeypatch, parameters, length) -> None:
    monkeypatch.setattr(models["llama"].config, "rope_parameters", parameters)
    assert rotary_length_limit(models["llama"]) == length


def test_reported_answers_add_up_to_the_number_of_requests(models, tokenizer) -> None:
    packed, counts = build_lm(models["llama"], tokenizer), []
    packed.on_answers = counts.append

    packed.loglikelihood(requests())

    assert sum(counts) == len(PAIRS)


def test_greedy_answers_are_marked(models, tokenizer) -> None:
    plain = HFLM(pretrained=models["llama"], tokenizer=tokenizer)
    context = tokenizer("2 + 2 =", return_tensors="pt").input_ids
    with torch.no_grad():
        best = models["llama"].generate(context, max_new_tokens=1, do_sample=False)[0, -1]
    pairs = [("2 + 2 =", tokenizer.decode(best)), ("2 + 2 =", " 4")]

    answers = build_lm(models["llama"], tokenizer).loglikelihood(requests(pairs))

    assert_equal(answers, plain.loglikelihood(requests(pairs)))
    assert [greedy for _, greedy in answers] == [True, False]


def test_prompts_beyond_the_models_length_lose_their_beginning_as_in_hf(models, tokenizer) -> None:
    plain = HFLM(pretrained=models["llama"], tokenizer=tokenizer, batch_size=4, max_length=40)
    packed = build_lm(models["llama"], tokenizer, batch_size=4, model_args={"max_length": 40})

    with pytest.warns(UserWarning, match=r"7 of 13 requests are longer than the model's 40 tokens"):
        answers = packed.loglikelihood(requests())

    assert_equal(answers, plain.loglikelihood(requests()))


def test_rolling_log_likelihoods_are_those_of_hf(models, tokenizer) -> None:
    texts = [Instance("loglikelihood_rolling", {}, ("Some text over several windows. " * n,), 0) for n in (1, 3)]
    plain = HFLM(pretrained=models["llama"], tokenizer=tokenizer, batch_size=2, max_length=32)
    packed = build_lm(models["llama"], tokenizer, batch_size=2, model_args={"max_length": 32})

    assert packed.loglikelihood_rolling(texts) == pytest.approx(plain.loglikelihood_rolling(texts), abs=1e-4)


def test_a_beginning_of_sentence_token_is_added_as_in_hf(models, tokenizer) -> None:
    plain = HFLM(pretrained=models["llama"], tokenizer=tokenizer, add_bos_token=True)
    packed = build_lm(models["llama"], tokenizer, model_args={"add_bos_token": True})

    assert_equal(packed.loglikelihood(requests()), plain.loglikelihood(requests()))


def test_the_output_head_is_applied_only_where_answers_are_read(models, tokenizer) -> None:
    model, seen = models["llama"], []
    packed = build_lm(model, tokenizer)
    hook = model.lm_head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    pairs = [("A context of many more tokens than its answer has.", f" {c}") for c in "ABCD"]

    packed.loglikelihood(requests(pairs))
    hook.remove()

    # One input for the four answers, which are a space and a letter: two positions.
    assert seen == [torch.Size([1, 2, 32])]


@pytest.mark.parametrize(("text", "length"), [("", 0), ("x" * 513, 513)])
def test_a_continuation_of_no_tokens_or_too_many_is_an_error(models, tokenizer, text, length) -> None:
    with pytest.raises(CalibError, match=f"makes {length} tokens of .*; between 1 and .* 512"):
        build_lm(models["llama"], tokenizer).loglikelihood(requests([("A context", text)]))


@pytest.mark.parametrize("name", ["llama", "mamba"])
@pytest.mark.parametrize("context", [" ", "\n\n"])
@pytest.mark.filterwarnings("ignore:scored as lm-eval")
def test_a_context_without_tokens_is_an_error(models, tokenizer, name, context) -> None:
    with pytest.raises(CalibError, match=r"makes 0 tokens of the context '.+' of 'A'; .*add_bos_token"):
        build_lm(models[name], tokenizer).loglikelihood(requests([(context, "A")]))


def test_model_args_that_a_loaded_model_cannot_take_are_an_error() -> None:
    check_model_args({"dtype": "float32", "max_length": 100})
    with pytest.raises(CalibError, match=r"model_args\.max_lenght .*'max_length'"):
        check_model_args({"max_lenght": 100})
    with pytest.raises(CalibError, match=r"model_args\.gptqmodel cannot be applied to a model that is loaded already"):
        check_model_args({"gptqmodel": True})


@pytest.mark.parametrize(
    ("slowdown", "warned"),
    [(0.6, []), (1.9, []), (5.2, ["this CPU is 5 times as slow in bfloat16 as in float32"])],
)
def test_a_dtype_in_which_the_cpu_is_slow_gives_a_warning(tokenizer, monkeypatch, slowdown, warned) -> None:
    # A stand-in for CPUs that are not here.
    monkeypatch.setattr(model_module, "slowdown_against_float32", lambda dtype: slowdown)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        build_lm(PACKED["llama"](len(tokenizer)).eval().bfloat16(), tokenizer)

    assert [str(w.message).split(":")[0] for w in caught if "this CPU" in str(w.message)] == warned


def test_float32_is_not_slower_than_itself_and_other_dtypes_are_timed() -> None:
    assert slowdown_against_float32(torch.float32) == 1.0
    assert slowdown_against_float32(torch.bfloat16) > 0.0
