"""Diversity of a prompt's texts by their similarity to each other."""

from __future__ import annotations

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.metric_cases import random_texts, small_texts
from mergekit_calib.metrics import (
    distinct_n,
    embedding_kernel,
    pairwise_rouge_l,
    self_bleu,
    vendi_score,
    vendi_score_of_similarities,
)


@pytest.mark.parametrize("seed", range(3))
def test_self_bleu_equals_sacrebleus(seed):
    drawn = random_texts(6, seed)
    oracle = [sacrebleu.sentence_bleu(text, drawn[:i] + drawn[i + 1 :]).score / 100 for i, text in enumerate(drawn)]
    assert self_bleu(drawn) == pytest.approx(np.mean(oracle), abs=1e-9)


@settings(max_examples=30)
@given(small_texts)
def test_self_bleu_of_short_texts_and_empty_ones_equals_sacrebleus(drawn):
    oracle = []
    for i, text in enumerate(drawn):
        others = drawn[:i] + drawn[i + 1 :]
        oracle.append(sacrebleu.sentence_bleu(text, others).score / 100 if text else float(text in others))
    assert self_bleu(drawn) == pytest.approx(np.mean(oracle), abs=1e-9)
    assert self_bleu(drawn[::-1]) == pytest.approx(self_bleu(drawn), abs=1e-9)


def test_self_bleu_of_equal_texts_is_1_and_of_different_words_0():
    assert self_bleu(["the cat sat on the mat"] * 3) == pytest.approx(1.0)
    assert self_bleu(["", ""]) == 1.0
    assert self_bleu(["one two three four", "five six seven eight"]) == 0.0


BLANK = ["", " ", "\n\n", "\t \u00a0\u2003"]


@pytest.mark.parametrize("blank", BLANK[1:])
@pytest.mark.parametrize("metric", [self_bleu, pairwise_rouge_l, vendi_score])
def test_texts_of_white_space_alone_are_alike_and_unlike_any_other(metric, blank):
    words = "one two three four"
    assert metric(["", blank]) == pytest.approx(1.0)
    assert metric([words, "", blank]) == pytest.approx(metric([words, "", ""]))
    assert metric([blank, words]) == pytest.approx(metric(["", words]))


@given(st.lists(st.sampled_from([*BLANK, "a", "a b.", "!"]), min_size=2, max_size=6))
def test_a_metric_does_not_depend_on_which_white_space_an_empty_text_holds(drawn):
    emptied = ["" if text in BLANK else text for text in drawn]
    for metric in (self_bleu, pairwise_rouge_l, vendi_score, distinct_n):
        assert metric(drawn) == pytest.approx(metric(emptied))


def test_empty_texts_make_a_prompts_texts_less_diverse_by_similarity():
    drawn = ["one two three four", "five six seven eight", "nine ten eleven twelve"]
    emptied = [drawn[0], "", " "]
    assert self_bleu(emptied) > self_bleu(drawn)
    assert pairwise_rouge_l(emptied) > pairwise_rouge_l(drawn)
    assert vendi_score(emptied) < vendi_score(drawn)


def test_the_largest_n_gram_can_be_set():
    drawn = ["the cat sat on the mat", "on the mat the cat sat"]
    assert self_bleu(drawn, max_order=1) == pytest.approx(1.0)
    assert self_bleu(drawn) < 0.8


def test_rouge_l_reads_every_script():
    assert pairwise_rouge_l(["привет мир", "Привет, мир!"]) == 1.0
    assert pairwise_rouge_l(["привет мир", "до свидания"]) == 0.0
    assert pairwise_rouge_l(["!", "!"]) == 1.0
    assert pairwise_rouge_l(["!", "?"]) == 0.0


def test_the_score_of_infinite_order_depends_on_the_largest_share_only():
    similarities = np.array([[1.0, 0.5], [0.5, 1.0]])
    assert vendi_score_of_similarities(similarities, np.inf) == pytest.approx(1 / 0.75)
    assert vendi_score_of_similarities(similarities, 400.0) == pytest.approx(1 / 0.75, rel=1e-2)


@given(small_texts)
def test_the_vendi_score_is_between_one_and_the_number_of_texts(drawn):
    score = vendi_score(drawn)
    assert 1 - 1e-9 <= score <= len(drawn) + 1e-9
    assert vendi_score(drawn[::-1]) == pytest.approx(score, abs=1e-9)
    assert vendi_score(drawn * 2) == pytest.approx(score, abs=1e-9)


def test_the_vendi_score_counts_different_texts():
    different = ["a b c d e", "f g h i j", "k l m n o"]
    assert vendi_score(different) == pytest.approx(3.0)
    assert vendi_score([different[0]] * 5) == pytest.approx(1.0)
    # Texts too short for a bigram are still told apart, and still recognised.
    assert vendi_score(["yes", "no", ""]) == pytest.approx(3.0)
    assert vendi_score(["yes", "yes", ""]) == pytest.approx(np.exp(-(2 / 3) * np.log(2 / 3) - (1 / 3) * np.log(1 / 3)))


def test_rounding_errors_do_not_count_as_rare_texts():
    for order in (0.05, 0.5):
        assert vendi_score(["a b c d e"] * 20, order=order) == pytest.approx(1.0, abs=1e-9)


def test_another_kernel_can_be_given():
    assert vendi_score(["a", "b"], kernel=lambda drawn: np.ones((len(drawn), len(drawn)))) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "similarities",
    [np.ones((2, 3)), np.ones(4), np.empty((0, 0)), 2 * np.eye(2), [[1.0, 0.2], [0.3, 1.0]], [[1.0, 2.0], [2.0, 1.0]]],
)
def test_similarities_must_be_square_symmetric_positive_and_1_on_the_diagonal(similarities):
    with pytest.raises(ValueError, match="similarities"):
        vendi_score_of_similarities(similarities)


@pytest.mark.parametrize("embeddings", [[[0.0, 0.0], [1.0, 0.0]], [[np.nan, 1.0]], [1.0, 2.0]])
def test_embeddings_must_be_finite_vectors_other_than_zero(embeddings):
    with pytest.raises(ValueError, match="embeddings"):
        embedding_kernel(embeddings)


@pytest.mark.parametrize("metric", [self_bleu, pairwise_rouge_l])
def test_metrics_of_pairs_need_two_texts(metric):
    with pytest.raises(ValueError, match="at least 2"):
        metric(["alone"])


def test_an_order_must_be_positive():
    with pytest.raises(ValueError, match="order"):
        vendi_score(["a"], order=0.0)
