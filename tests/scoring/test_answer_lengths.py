"""Tokens of generated answers: counted up to the token or text that ends an answer, in any order of generation."""

from __future__ import annotations

import pytest
from lm_eval.api.instance import Instance

from mergekit_calib.prefix_lm.answer_lengths import AnswerLength
from mergekit_calib.prefix_lm.model import build_lm

END, PAD = 1, 2  # of the tokenizer in tests


@pytest.fixture
def length(lm, tokenizer):
    def of(*parts: str | int, stop: tuple[str, ...] = ("\n", "##")) -> AnswerLength:
        ids = [i for part in parts for i in ([part] if isinstance(part, int) else tokenizer.encode(part))]
        lm._batch = [0]
        lm.measure([ids], stop, {END})
        return lm._measured[0]

    return of


def test_a_token_that_ends_the_answer_counts_and_what_follows_it_does_not(length):
    assert length("yes", END, PAD, PAD) == AnswerLength(4, False)
    assert length("yes", END, "\nmore") == AnswerLength(4, False)


def test_an_answer_ends_with_the_token_that_completes_a_stop_text(length):
    assert length("one\ntwo\n") == AnswerLength(4, False)
    assert length("one # two ## three") == AnswerLength(len("one # two ##"), False)
    assert length("é\n", PAD) == AnswerLength(3, False)  # two tokens for two bytes


def test_an_answer_without_an_end_is_cut_off(length):
    assert length("one two") == AnswerLength(7, True)
    assert length("one two", stop=()) == AnswerLength(7, True)
    assert length("one", PAD, PAD) == AnswerLength(3, True)


def answered(lm, requests):
    instances = [Instance("generate_until", {}, args, i, metadata=("m", i, 1)) for i, args in enumerate(requests)]
    texts = lm.generate_until(instances, disable_tqdm=True)
    return texts, lm.answer_lengths


@pytest.mark.parametrize("as_hf", [False, True])
def test_lengths_are_in_the_order_of_the_requests_and_those_of_the_texts(model, tokenizer, as_hf):
    lm = build_lm(model, tokenizer, batch_size=2)
    if as_hf:
        lm.fallback_reason, lm._runner = "asked for", None
    greedy = {"until": ["e", "a"], "max_gen_toks": 12}
    longer = {"until": ["e", "a"], "max_gen_toks": 20}
    prompts = ["Two", "A much longer prompt than that", "x", "Twice two", "", "xyz"]
    requests = [(prompt or " ", longer if i % 2 else greedy) for i, prompt in enumerate(prompts)]
    texts, lengths = answered(lm, requests)
    alone = [answered(lm, [request]) for request in requests]
    assert texts == [text for (text,), _ in alone]
    assert lengths == [length for _, (length,) in alone]
    assert len({length.tokens for length in lengths}) > 1
    for (_, options), each in zip(requests, lengths, strict=True):
        assert each.tokens == options["max_gen_toks"] if each.cut_off else 0 < each.tokens <= options["max_gen_toks"]
