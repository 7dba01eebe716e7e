"""The scorer gives what lm-eval's plain `hf` gives (to 1e-4 nats in fp32), running what is shared once."""

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
from mergekit_calib.prefix_lm import dtype_speed, generation
from mergekit_calib.prefix_lm.compatibility import same_rotation_up_to
from mergekit_calib.prefix_lm.generation import tokens_of_a_row
from mergekit_calib.prefix_lm.model import Arrangements, PrefixLM, build_lm, check_model_args

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


@pytest.fixture(scope="module")
def models(tokenizer) -> dict[str, transformers.PreTrainedModel]:
    torch.manual_seed(11)
    return {name: make(len(tokenizer)).eval() for name, make in {**PACKED, **PLAIN}.items()}


def requests(pairs: list[tuple[str, str]] = PAIRS) -> list[Instance]:
    return [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]


def assert_same(mine: list[tuple[float, bool]], theirs: list[tuple[float, bool]]) -> None:
    assert [greedy for _, greedy in mine] == [greedy for _, greedy in theirs]
    # Beside 1e-5, a unit in the last place: fp32 has no finer numbers around the −200 nats of a long answer.
    assert [score for score, _ in mine] == pytest.approx([score for score, _ in theirs], abs=1e-4)


@pytest.mark.parametrize("step_tokens", [512, 48, 5])
@pytest.mark.parametrize("name", PACKED)
def test_scores_are_those_of_hf(models, tokenizer, name, step_tokens) -> None:
    plain = HFLM(pretrained=models[name], tokenizer=tokenizer, batch_size=4)

    live = build_lm(models[name], tokenizer)
    live._runner.sizes.step_tokens = step_tokens

    assert live.plain_because is None
    assert_same(live.loglikelihood(requests()), plain.loglikelihood(requests()))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_every_attention_that_takes_a_mask_will_do(models, tokenizer, attention) -> None:
    model = models["gemma3"]
    given = model.config._attn_implementation
    model.set_attn_implementation(attention)
    try:
        live, plain = build_lm(model, tokenizer), HFLM(pretrained=model, tokenizer=tokenizer)
        assert live.plain_because is None
        assert_same(live.loglikelihood(requests()), plain.loglikelihood(requests()))
    finally:
        model.set_attn_implementation(given)


@pytest.mark.parametrize("name", PLAIN)
def test_a_model_that_cannot_share_is_scored_as_hf_scores_it_and_says_why(models, tokenizer, name) -> None:
    plain = HFLM(pretrained=models[name], tokenizer=tokenizer, batch_size=4)

    with pytest.warns(UserWarning, match="scored as lm-eval's `hf` scores, because"):
        live = build_lm(models[name], tokenizer, batch_size=4)

    assert live.plain_because
    assert_same(live.loglikelihood(requests()), plain.loglikelihood(requests()))


class LooksBack(transformers.LlamaForCausalLM):
    """Passes for transformers' own, but has what no cache of keys and values holds: the sum of all tokens before."""

    __module__ = "transformers.models.llama.modeling_llama"

    def forward(self, input_ids: torch.Tensor, **kwargs: object) -> object:  # type: ignore[override]
        shift = self.get_input_embeddings()(input_ids).cumsum(1)
        return super().forward(inputs_embeds=shift, **kwargs)

    forward.__signature__ = inspect.signature(transformers.LlamaForCausalLM.forward)  # type: ignore[attr-defined]


def test_a_model_whose_packed_scores_differ_is_found_out_on_first_use(tokenizer) -> None:
    torch.manual_seed(2)
    model = LooksBack(transformers.LlamaConfig(**TEXT, vocab_size=len(tokenizer))).eval()
    plain = HFLM(pretrained=model, tokenizer=tokenizer)

    with pytest.warns(UserWarning, match="because packed steps do not give its log-probabilities"):
        live = build_lm(model, tokenizer)

    assert_same(live.loglikelihood(requests()), plain.loglikelihood(requests()))


def test_steps_that_do_not_fit_are_halved_until_they_do(models, tokenizer) -> None:
    model, sizes = models["llama"], []

    def refuse(_: object, args: tuple[torch.Tensor]) -> None:
        sizes.append(args[0].shape[1])
        if sizes[-1] > 40:
            raise torch.cuda.OutOfMemoryError

    live = build_lm(model, tokenizer)
    hook = model.model.embed_tokens.register_forward_pre_hook(refuse)
    answers = live.loglikelihood(requests())
    hook.remove()

    assert max(sizes) > 40
    assert 20 < sizes[-1] <= 40
    assert_same(answers, HFLM(pretrained=model, tokenizer=tokenizer).loglikelihood(requests()))


def test_what_was_answered_before_memory_ran_out_is_not_run_again(models, tokenizer) -> None:
    model, sizes, told = models["llama"], [], []
    live = build_lm(model, tokenizer)
    live._runner.sizes.step_tokens, live._runner.sizes.head_rows = 80, 1

    def refuse_once(_: object, args: tuple[torch.Tensor]) -> None:
        sizes.append(args[0].shape[1])
        if len(sizes) == 4:
            raise torch.cuda.OutOfMemoryError

    live.on_answers = told.append
    hook = model.model.embed_tokens.register_forward_pre_hook(refuse_once)
    answers = live.loglikelihood(requests())
    hook.remove()

    everything_again = sum(len(step.tokens) for step in live._arranged(requests()).steps(40))
    assert 0 < sum(sizes[4:]) < everything_again
    assert sum(told) == len(requests())
    assert_same(answers, HFLM(pretrained=model, tokenizer=tokenizer).loglikelihood(requests()))


def test_requests_are_tokenised_once_for_all_models(models, tokenizer, monkeypatch) -> None:
    known = Arrangements()
    first = build_lm(models["llama"], tokenizer, arrangements=known).loglikelihood(requests())

    def fail(*_: object) -> None:
        raise AssertionError("tokenised again")

    monkeypatch.setattr(PrefixLM, "tok_encode", fail)
    assert build_lm(models["llama"], tokenizer, arrangements=known).loglikelihood(requests()) == first
    other = build_lm(models["qwen3"], tokenizer, arrangements=known).loglikelihood(requests())
    assert other != first
    with pytest.raises(AssertionError, match="tokenised again"):
        build_lm(models["llama"], copy.deepcopy(tokenizer), arrangements=known).loglikelihood(requests())


@pytest.mark.parametrize("lengths", [(64, 512), (512, 64)])
def test_models_of_other_lengths_each_get_their_own_part_of_a_prompt(models, tokenizer, lengths) -> None:
    known = Arrangements()
    for length in lengths:
        arguments = {"max_length": length}
        live = build_lm(models["llama"], tokenizer, arrangements=known, model_args=arguments)
        plain = HFLM(pretrained=models["llama"], tokenizer=tokenizer, **arguments)
        assert_same(live.loglikelihood(requests()), plain.loglikelihood(requests()))


def test_requests_are_arranged_anew_for_another_first_token(models, tokenizer) -> None:
    known = Arrangements()
    for prefix in (0, 1):
        arguments = {"prefix_token_id": prefix}
        live = build_lm(models["llama"], tokenizer, arrangements=known, model_args=arguments)
        plain = HFLM(pretrained=models["llama"], tokenizer=tokenizer, **arguments)
        assert_same(live.loglikelihood(requests()), plain.loglikelihood(requests()))


def test_inputs_that_get_another_rotary_embedding_are_scored_as_hf_scores_them(tokenizer) -> None:
    torch.manual_seed(5)
    model = long_rope(len(tokenizer)).eval()
    plain, live = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1), build_lm(model, tokenizer, batch_size=1)
    rolling = [Instance("loglikelihood_rolling", {}, ("Some text over some windows. " * 20,), 0)]
    short = requests([pair for pair in PAIRS if len("".join(pair)) < 100])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(live.loglikelihood(short), plain.loglikelihood(short))
    with pytest.warns(UserWarning, match=r"of up to 2\d\d tokens are .* rotary embedding is another beyond 128"):
        answers = live.loglikelihood(requests())
    with pytest.warns(UserWarning, match="of up to 512 tokens"):
        whole = live.loglikelihood_rolling(rolling)

    assert live.plain_because is None
    assert_same(answers, plain.loglikelihood(requests()))
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
def test_lengths_that_a_rotary_embedding_changes_at(models, monkeypatch, parameters, length) -> None:
    monkeypatch.setattr(models["llama"].config, "rope_parameters", parameters)
    assert same_rotation_up_to(models["llama"]) == length


def test_progress_adds_up_to_the_requests(models, tokenizer) -> None:
    live, told = build_lm(models["llama"], tokenizer), []
    live.on_answers = told.append

    live.loglikelihood(requests())

    assert sum(told) == len(PAIRS)


def generations(lm: HFLM, texts: list[str], repeats: int, **kwargs: object) -> list[str]:
    settings = {"until": ["\n"], "max_gen_toks": 6, **kwargs}
    asked = [Instance("generate_until", {}, (text, settings), i) for i, text in enumerate(texts)]
    return lm.generate_until([instance for instance in asked for _ in range(repeats)], disable_tqdm=True)


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "mamba"])
def test_greedy_generations_are_those_of_hf(models, tokenizer, name) -> None:
    plain = HFLM(pretrained=models[name], tokenizer=tokenizer, batch_size=1)
    texts = ["2 + 2 =", "A longer beginning, beyond the sixteen tokens of a window,", "Once"]

    found = generations(build_lm(models[name], tokenizer, batch_size=1), texts, 3)

    assert found == generations(plain, texts, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 3, "do_sample": False},
        {"cache_implementation": "static"},
        {"max_gen_toks": None, "max_new_tokens": 4},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_goes_on_from_no_cache_is_generated_as_hf_generates_it(models, tokenizer, options) -> None:
    texts, plain = ["2 + 2 =", "Once"], HFLM(pretrained=models["llama"], tokenizer=tokenizer, batch_size=1)

    found = generations(build_lm(models["llama"], tokenizer, batch_size=1), texts, 2, **options)

    assert found == generations(plain, texts, 2, **options)


def test_rows_are_counted_by_the_tokens_that_they_may_come_to() -> None:
    options = [{"max_gen_toks": 6}, {"max_gen_toks": 40}]
    assert tokens_of_a_row(10, options) == 50
    assert tokens_of_a_row(10, [*options, {"max_gen_toks": 6, "num_beams": 3}]) == 150
    assert tokens_of_a_row(10, [*options, {"max_gen_toks": 6, "max_length": 80}]) == 80


@pytest.mark.parametrize("alias", ["max_new_tokens", "max_tokens", "max_completion_tokens"])
def test_every_name_of_the_most_tokens_counts(models, tokenizer, monkeypatch, alias) -> None:
    counted: list[int] = []
    monkeypatch.setattr(generation, "rows_that_fit", lambda _, n_tokens: counted.append(n_tokens) or 4)

    generations(build_lm(models["llama"], tokenizer), ["2 + 2 ="], 1, max_gen_toks=None, **{alias: 9})

    assert counted == [len("2 + 2 =") + 9]


def test_a_prompt_is_read_once_for_all_its_samples(models, tokenizer) -> None:
    model, seen = models["llama"], []
    hook = model.base_model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    torch.manual_seed(0)
    samples = generations(build_lm(model, tokenizer), ["A prompt"], 8, do_sample=True, temperature=1.0)
    hook.remove()

    assert seen[-6:] == [(1, len("A prompt") - 1), *[(8, 1)] * 6][-6:]
    assert len(set(samples)) > 1


def test_generations_that_do_not_fit_together_are_made_in_parts(models, tokenizer) -> None:
    model, rows = models["llama"], []

    def refuse(_: object, args: tuple[object, ...], kwargs: dict[str, torch.Tensor]) -> None:
        rows.append(len(kwargs["input_ids"]))
        if rows[-1] > 2:
            raise torch.cuda.OutOfMemoryError

    texts = ["2 + 2 =", "A longer beginning", "Once", "Twice", "And again"]
    expected = generations(HFLM(pretrained=model, tokenizer=tokenizer), texts, 1)
    live = build_lm(model, tokenizer)
    hook = model.register_forward_pre_hook(refuse, with_kwargs=True)
    found = generations(live, texts, 1)
    hook.remove()

    assert max(rows) == 5
    assert found == expected


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

    with pytest.warns(UserWarning, match=r"7 of 13 requests are longer than the model's 40 tokens"):
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
    live = build_lm(model, tokenizer)
    hook = model.lm_head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    pairs = [("A context of many more tokens than its answer has.", f" {c}") for c in "ABCD"]

    live.loglikelihood(requests(pairs))
    hook.remove()

    # One input for the four answers, which are a space and a letter: two positions.
    assert seen == [torch.Size([1, 2, 32])]


@pytest.mark.parametrize(("text", "length"), [("", 0), ("x" * 513, 513)])
def test_an_answer_that_no_model_can_score_is_named(models, tokenizer, text, length) -> None:
    with pytest.raises(CalibError, match=f"is {length} tokens to this tokenizer; between 1 and .* 512"):
        build_lm(models["llama"], tokenizer).loglikelihood(requests([("A context", text)]))


@pytest.mark.parametrize("name", ["llama", "mamba"])
@pytest.mark.parametrize("context", [" ", "\n\n"])
@pytest.mark.filterwarnings("ignore:scored as lm-eval")
def test_a_context_of_no_tokens_is_named(models, tokenizer, name, context) -> None:
    with pytest.raises(CalibError, match=r"the context '.+' of 'A' is 0 tokens to this tokenizer; .*add_bos_token"):
        build_lm(models[name], tokenizer).loglikelihood(requests([(context, "A")]))


def test_model_args_that_a_live_model_cannot_take_are_named() -> None:
    check_model_args({"dtype": "float32", "max_length": 100})
    with pytest.raises(CalibError, match=r"model_args\.max_lenght .*'max_length'"):
        check_model_args({"max_lenght": 100})
    with pytest.raises(CalibError, match=r"model_args\.parallelize is not one that a live model can take"):
        check_model_args({"parallelize": True})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_dtype_that_a_processor_is_slow_in_is_told_of(tokenizer, dtype) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        build_lm(PACKED["llama"](len(tokenizer)).eval().to(dtype), tokenizer)
    told = [str(w.message) for w in caught if "`dtype: float32` in `model_args`" in str(w.message)]
    assert len(told) == (dtype_speed.times_as_long(dtype) > dtype_speed.MUCH)
