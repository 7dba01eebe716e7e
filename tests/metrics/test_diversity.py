"""Diversity of a prompt's texts by their n-grams, bytes and answers."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mergekit_calib.metrics import answer_entropy, compression_ratio, distinct_n, expectation_adjusted_distinct
from mergekit_calib.metrics.diversity import n_empty, words

texts = st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", "."]), max_size=8).map(" ".join), min_size=1, max_size=6)


def test_words_and_punctuation_marks_are_split_in_any_script():
    assert words("Don't stop, Zoë!") == ["Don", "'", "t", "stop", ",", "Zoë", "!"]
    assert words("") == words(" \n\t") == []
    assert words("Привет, мир") == ["Привет", ",", "мир"]


def test_distinct_n_is_the_share_of_different_n_grams():
    assert distinct_n(["the cat sat", "the cat ran"], 1) == pytest.approx(4 / 6)
    assert distinct_n(["the cat sat", "the cat ran"], 2) == pytest.approx(3 / 4)
    # No bigram reaches from one text into the next.
    assert distinct_n(["a b", "c d", "b c"], 2) == 1.0


@given(texts, st.integers(1, 4))
def test_distinct_n_agrees_with_counting_and_ignores_order(case, n):
    grams = [tuple(t.split()[i : i + n]) for t in case for i in range(len(t.split()) - n + 1)]
    assert distinct_n(case, n) == (len(set(grams)) / len(grams) if grams else 0.0)
    assert distinct_n(case[::-1], n) == distinct_n(case, n)


def test_distinct_n_of_texts_without_n_grams_is_zero():
    assert distinct_n(["", "yes"], 2) == 0.0


def test_empty_texts_are_counted_and_change_no_metric_of_n_grams():
    assert n_empty(["", " \n", "\u00a0", ".", "a"]) == 3
    assert distinct_n(["a b", "b a", "", " \n"], 1) == distinct_n(["a b", "b a"], 1)


def test_another_tokenizer_can_be_given():
    assert distinct_n(["abab"], 1, tokenize=list) == 0.5


@given(st.integers(1, 400), st.integers(2, 50))
def test_the_expected_count_is_the_mean_of_random_draws(n_words, vocabulary):
    # A text that uses each of `vocabulary` words equally: N / E[N], with E[N] by its own recurrence.
    expected = 0.0
    for _ in range(n_words):
        expected += 1 - expected / vocabulary
    text = " ".join(f"w{i % vocabulary}" for i in range(n_words))
    assert expectation_adjusted_distinct([text], vocabulary) == pytest.approx(
        min(n_words, vocabulary) / expected, rel=1e-9
    )


def test_expectation_adjusted_distinct_does_not_fall_with_length():
    rng = np.random.default_rng(0)
    for n_words in (50, 500, 5000):
        text = " ".join(f"w{i}" for i in rng.integers(0, 1000, n_words))
        assert expectation_adjusted_distinct([text], 1000) == pytest.approx(1.0, abs=0.05)
    short, long = (" ".join(f"w{i}" for i in rng.integers(0, 1000, n)) for n in (50, 5000))
    assert distinct_n([short], 1) > 3 * distinct_n([long], 1)


def test_expectation_adjusted_distinct_of_no_words_and_of_a_vocabulary_of_one():
    assert expectation_adjusted_distinct([""]) == 0.0
    assert expectation_adjusted_distinct(["a a a"], 1) == 1.0
    with pytest.raises(ValueError, match="vocabulary_size"):
        expectation_adjusted_distinct(["a"], 0)


def test_compression_ratio_is_bytes_over_gzipped_bytes():
    drawn = ["Once upon a time, Ærø.", "Once upon a time, there."]
    data = "\n".join(drawn).encode()
    assert compression_ratio(drawn) == len(data) / len(gzip.compress(data, mtime=0))
    assert compression_ratio(["\ud800 half a pair"]) > 0
    assert compression_ratio([""]) == 0.0


def test_repeated_texts_compress_better():
    rng = np.random.default_rng(0)
    different = ["".join(chr(97 + c) for c in rng.integers(0, 26, 300)) for _ in range(8)]
    assert compression_ratio([different[0]] * 8) > 4 * compression_ratio(different)


@given(st.lists(st.sampled_from(["a", "b", None, 3]), min_size=1, max_size=20))
def test_entropy_of_answers_is_between_agreement_and_all_different(answers):
    entropy = answer_entropy(answers)
    assert 0 <= entropy <= np.log(len(answers)) + 1e-12
    assert entropy == pytest.approx(answer_entropy(answers[::-1]))


def test_entropy_of_answers_by_hand():
    assert answer_entropy(["7"] * 8) == 0.0
    assert str(answer_entropy(["7"] * 8)) == "0.0"
    assert answer_entropy(list(range(8))) == pytest.approx(np.log(8))
    assert answer_entropy(["7", "7", "8", None]) == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(4))


@pytest.mark.parametrize("metric", [distinct_n, expectation_adjusted_distinct, compression_ratio, answer_entropy])
def test_no_texts_is_an_error(metric):
    with pytest.raises(ValueError, match="at least 1"):
        metric([])


def test_one_string_is_not_a_list_of_texts():
    with pytest.raises(ValueError, match="one string"):
        distinct_n("a b c")
    with pytest.raises(ValueError, match="n is 0"):
        distinct_n(["a"], 0)
