"""Diversity of the texts drawn for one prompt, by their n-grams, bytes or answers.

Each metric is a function of the texts of one prompt. Average it over prompts; `mean_statistic` of the prompts' values
can be resampled prompt by prompt.

An empty text is one without characters, or with white space alone. All empty texts are alike, however much white space
they hold. Metrics of n-grams leave them out, and metrics of similarity take them for equal: so state their share, as
`n_empty` counts them, beside any of these metrics.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np

Tokenize = Callable[[str], Sequence[str]]

_WORD = re.compile(r"\w+|[^\w\s]")


def words(text: str) -> list[str]:
    """Return the words and punctuation marks of a text, in their own case: the default tokens of the metrics."""
    return _WORD.findall(text)


def distinct_n(texts: Sequence[str], n: int = 2, tokenize: Tokenize = words) -> float:
    """Return the share of different n-grams among all n-grams of the texts, 0 to 1; more is more diverse.

    After Li et al. (2016). N-grams do not cross from one text into the next. The share falls as texts get longer:
    compare equal lengths, or use `expectation_adjusted_distinct`. Texts too short for any n-gram give 0; beside longer
    texts they change nothing.

    Args:
        texts: at least 1.
        n: the number of words in an n-gram, at least 1.
        tokenize: a text → its words.
    """
    counts = ngrams(_tokens(texts, tokenize), n)
    return len(counts) / counts.total() if counts else 0.0


def expectation_adjusted_distinct(
    texts: Sequence[str], vocabulary_size: int = 50_000, tokenize: Tokenize = words
) -> float:
    """Return the number of different words over that expected of as many draws from a vocabulary; more is more diverse.

    N / (V·(1 − ((V − 1)/V)^C)) for N different words among C (Liu et al. 2022), at least 0: unlike `distinct_n` it does
    not fall as texts get longer. Texts without words give 0.

    Args:
        texts: at least 1.
        vocabulary_size: V; the same for all models compared. The authors advise the models' largest.
        tokenize: a text → its words.

    Raises:
        ValueError: V is below 1, or there is no text.
    """
    if vocabulary_size < 1:
        raise ValueError(f"vocabulary_size is {vocabulary_size}; at least 1 is needed")
    counts = ngrams(_tokens(texts, tokenize), 1)
    if not counts:
        return 0.0
    with np.errstate(divide="ignore"):
        unseen = np.expm1(counts.total() * np.log1p(-1.0 / vocabulary_size))
    return float(len(counts) / (-vocabulary_size * unseen))


def compression_ratio(texts: Sequence[str]) -> float:
    """Return the bytes of the texts over their bytes when compressed together, above 0; less is more diverse.

    After Shaib et al. (2024): UTF-8, the texts joined by line feeds, gzip at level 9. The ratio grows with the amount
    of text; a few short texts have one below 1, because of the 20 bytes that gzip adds. Empty texts have one near 0,
    as if they were diverse.

    Args:
        texts: at least 1.
    """
    check_texts(texts, 1)
    joined = "\n".join(texts).encode("utf-8", errors="surrogatepass")
    return len(joined) / len(gzip.compress(joined, compresslevel=9, mtime=0))


def answer_entropy(answers: Sequence[Hashable]) -> float:
    """Return the entropy of the answers to one prompt, in nats: 0 if all agree, log k if k answers all differ.

    The plug-in estimate, −Σ s log s over the share s of each different answer. It cannot exceed log k, so compare equal
    k. Answers are compared as they are, white space included: normalise them first. None is an answer like any other.

    Args:
        answers: at least 1.
    """
    if len(answers) < 1:
        raise ValueError("no answers; at least 1 is needed")
    share = np.array(list(Counter(answers).values())) / len(answers)
    return float(np.abs(np.sum(share * np.log(share))))


def n_empty(texts: Iterable[str]) -> int:
    """Return how many of the texts are empty: without characters, or with white space alone."""
    return sum(not text.strip() for text in texts)


def with_empty_alike(texts: Sequence[str]) -> list[str]:
    """Return the texts with "" in place of every empty one, so that these are equal."""
    return [text if text.strip() else "" for text in texts]


def ngrams(tokens: Sequence[Sequence[str]], n: int) -> Counter[tuple[str, ...]]:
    """Return how often each n-gram occurs in tokenised texts.

    Args:
        tokens: the words of each text.
        n: the number of words in an n-gram.

    Raises:
        ValueError: n is below 1.
    """
    if n < 1:
        raise ValueError(f"n is {n}; at least 1 is needed")
    return Counter(tuple(text[i : i + n]) for text in tokens for i in range(len(text) - n + 1))


def _tokens(texts: Sequence[str], tokenize: Tokenize) -> list[Sequence[str]]:
    check_texts(texts, 1)
    return [tokenize(text) for text in texts]


def check_texts(texts: Sequence[str], at_least: int) -> None:
    """Raise an error if a string stands for the texts, or there are too few of them.

    Raises:
        ValueError: as above.
    """
    if isinstance(texts, str):
        raise ValueError("one string was given; a sequence of texts is needed")
    if len(texts) < at_least:
        raise ValueError(f"{len(texts)} texts were given; at least {at_least} are needed")
