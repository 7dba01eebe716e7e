"""Diversity of a prompt's texts by how much they resemble each other."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sklearn.preprocessing import normalize
from vendi_score import text_utils, vendi

from mergekit_calib.metrics import (
    embedding_kernel,
    ngram_kernel,
    pairwise_rouge_l,
    self_bleu,
    vendi_score,
    vendi_score_of_similarities,
)
from mergekit_calib.metrics.diversity import words

ROUGE = RougeScorer(["rougeL"])
WORDS = ["the", "cat,", "sat", "on", "a", "mat", "while", "dogs", "Ran", "far", "away", "."]

ascii_texts = st.lists(
    st.lists(st.sampled_from([*WORDS, "(x_1)", "!"]), max_size=14).map(" ".join), min_size=2, max_size=6
)


def random_texts(n_texts, seed, n_words=30):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(5, n_words))) for _ in range(n_texts)]


@pytest.mark.parametrize("seed", range(3))
def test_self_bleu_is_sacrebleus(seed):
    drawn = random_texts(6, seed)
    oracle = [sacrebleu.sentence_bleu(text, drawn[:i] + drawn[i + 1 :]).score / 100 for i, text in enumerate(drawn)]
    assert self_bleu(drawn) == pytest.approx(np.mean(oracle), abs=1e-9)


@settings(max_examples=30)
@given(ascii_texts)
def test_self_bleu_is_sacrebleus_on_odd_texts_too(drawn):
    oracle = []
    for i, text in enumerate(drawn):
        others = drawn[:i] + drawn[i + 1 :]
        oracle.append(sacrebleu.sentence_bleu(text, others).score / 100 if text else float(text in others))
    assert self_bleu(drawn) == pytest.approx(np.mean(oracle), abs=1e-9)
    assert self_bleu(drawn[::-1]) == pytest.approx(self_bleu(drawn), abs=1e-9)


def test_self_bleu_at_its_ends():
    assert self_bleu(["the cat sat on the mat"] * 3) == pytest.approx(1.0)
    assert self_bleu(["", ""]) == 1.0
    assert self_bleu(["one two three four", "five six seven eight"]) == 0.0


def test_shorter_n_grams_may_be_asked_for():
    drawn = ["the cat sat on the mat", "on the mat the cat sat"]
    assert self_bleu(drawn, max_order=1) == pytest.approx(1.0)
    assert self_bleu(drawn) < 0.8


@pytest.mark.parametrize("seed", range(3))
def test_rouge_l_is_rouge_scores(seed):
    drawn = random_texts(6, seed, n_words=150)
    oracle = [ROUGE.score(a, b)["rougeL"].fmeasure for a, b in combinations(drawn, 2)]
    assert pairwise_rouge_l(drawn) == pytest.approx(np.mean(oracle), abs=1e-9)


@given(ascii_texts)
def test_rouge_l_is_rouge_scores_on_odd_texts_too(drawn):
    oracle = [1.0 if a == b else ROUGE.score(a, b)["rougeL"].fmeasure for a, b in combinations(drawn, 2)]
    assert pairwise_rouge_l(drawn) == pytest.approx(np.mean(oracle), abs=1e-9)


def test_rouge_l_reads_every_script():
    assert pairwise_rouge_l(["привет мир", "Привет, мир!"]) == 1.0
    assert pairwise_rouge_l(["привет мир", "до свидания"]) == 0.0
    assert pairwise_rouge_l(["!", "!"]) == 1.0
    assert pairwise_rouge_l(["!", "?"]) == 0.0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n_texts", [1, 2, 8])
def test_the_vendi_score_is_the_packages(seed, n_texts):
    """vendi-score 0.0.3: its n-gram counts, averaged kernels and score, as its `ngram_vendi_score` joins them."""
    drawn = random_texts(n_texts, seed)
    kernels = []
    for n in (1, 2, 3, 4):
        counts = normalize(text_utils.get_ngrams(drawn, n=n, tokenizer=words, token_pattern=None))
        kernels.append((counts @ counts.T).toarray())
    assert ngram_kernel(drawn) == pytest.approx(np.mean(kernels, axis=0), abs=1e-9)
    assert vendi_score(drawn) == pytest.approx(vendi.score_K(np.mean(kernels, axis=0)), abs=1e-6)


@pytest.mark.parametrize("order", [0.1, 0.5, 1.0, 2.0, 7.0])
def test_the_vendi_score_of_any_order_is_the_packages(order):
    vectors = np.random.default_rng(0).normal(size=(12, 30))
    oracle = vendi.score_K(vendi.normalize_K(vectors @ vectors.T), q=order)
    assert vendi_score_of_similarities(embedding_kernel(vectors), order) == pytest.approx(oracle, abs=1e-6)


def test_the_order_without_bound_looks_at_the_largest_share_only():
    similarities = np.array([[1.0, 0.5], [0.5, 1.0]])
    assert vendi_score_of_similarities(similarities, np.inf) == pytest.approx(1 / 0.75)
    assert vendi_score_of_similarities(similarities, 400.0) == pytest.approx(1 / 0.75, rel=1e-2)


@given(ascii_texts)
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


def test_rounding_does_not_pass_for_rare_texts():
    for order in (0.05, 0.5):
        assert vendi_score(["a b c d e"] * 20, order=order) == pytest.approx(1.0, abs=1e-9)


def test_another_kernel_may_be_given():
    assert vendi_score(["a", "b"], kernel=lambda drawn: np.ones((len(drawn), len(drawn)))) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "similarities",
    [np.ones((2, 3)), np.ones(4), np.empty((0, 0)), 2 * np.eye(2), [[1.0, 0.2], [0.3, 1.0]], [[1.0, 2.0], [2.0, 1.0]]],
)
def test_what_is_no_kernel_is_an_error(similarities):
    with pytest.raises(ValueError, match="similarities"):
        vendi_score_of_similarities(similarities)


@pytest.mark.parametrize("embeddings", [[[0.0, 0.0], [1.0, 0.0]], [[np.nan, 1.0]], [1.0, 2.0]])
def test_embeddings_without_a_direction_are_an_error(embeddings):
    with pytest.raises(ValueError, match="embeddings"):
        embedding_kernel(embeddings)


@pytest.mark.parametrize("metric", [self_bleu, pairwise_rouge_l])
def test_pairs_need_two_texts(metric):
    with pytest.raises(ValueError, match="at least 2"):
        metric(["alone"])


def test_an_order_must_be_positive():
    with pytest.raises(ValueError, match="order"):
        vendi_score(["a"], order=0.0)
