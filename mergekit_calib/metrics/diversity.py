"""How varied the texts drawn for one prompt are, by what they are made of: n-grams, bytes, answers.

Each metric is a function of the texts of one prompt; `diversity_statistic` averages one over prompts, to be resampled
prompt by prompt.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import numpy as np

from mergekit_calib.metrics.statistic import FunctionOfMeans, mean_statistic

Tokenize = Callable[[str], Sequence[str]]
Drawn = TypeVar("Drawn")

_WORD = re.compile(r"\w+|[^\w\s]")


def words(text: str) -> list[str]:
    """The words and punctuation marks of a text, in their own case; what metrics count unless told otherwise."""
    return _WORD.findall(text)


def diversity_statistic(
    metric: Callable[[Sequence[Drawn]], float], generations: Sequence[Sequence[Drawn]]
) -> FunctionOfMeans:
    """The mean over prompts of a metric of each prompt's texts; the prompt is what is resampled.

    Args:
        metric: a function of the texts of one prompt; bind its options with `functools.partial`.
        generations: the texts of each prompt.
    """
    return mean_statistic([metric(texts) for texts in generations])


def distinct_n(texts: Sequence[str], n: int = 2, tokenize: Tokenize = words) -> float:
    """The share of different n-grams among all n-grams of the texts, 0 to 1; more is more diverse (Li et al. 2016).

    N-grams do not reach from one text into the next. It falls as texts get longer: compare equal lengths, or use
    `expectation_adjusted_distinct`. Texts too short to hold any n-gram give 0.

    Args:
        texts: at least 1.
        n: words in an n-gram, at least 1.
    """
    found = ngrams(_tokens(texts, tokenize), n)
    return len(found) / found.total() if found else 0.0


def expectation_adjusted_distinct(
    texts: Sequence[str], vocabulary_size: int = 50_000, tokenize: Tokenize = words
) -> float:
    """Different words over the number expected of that many draws from the vocabulary (Liu et al. 2022); 0 and up.

    N / (V·(1 − ((V − 1)/V)^C)) for N different among C words: unlike `distinct_n` it does not fall as texts
    get longer. More is more diverse. Texts without words give 0.

    Args:
        texts: at least 1.
        vocabulary_size: V; the same for all models compared, by its authors' advice the largest of theirs.
    """
    if vocabulary_size < 1:
        raise ValueError(f"vocabulary_size is {vocabulary_size}; at least 1 is needed")
    found = ngrams(_tokens(texts, tokenize), 1)
    if not found:
        return 0.0
    with np.errstate(divide="ignore"):
        unseen = np.expm1(found.total() * np.log1p(-1.0 / vocabulary_size))
    return float(len(found) / (-vocabulary_size * unseen))


def compression_ratio(texts: Sequence[str]) -> float:
    """Bytes of the texts over their bytes when compressed together, above 0; less is more diverse (Shaib et al. 2024).

    UTF-8, the texts joined by line feeds, gzip at level 9. It grows with the amount of text; a few short texts stay
    below 1, for gzip's 20 bytes of frame. No text at all but empty ones gives a ratio near 0.

    Args:
        texts: at least 1.
    """
    check_texts(texts, 1)
    joined = "\n".join(texts).encode("utf-8", errors="surrogatepass")
    return len(joined) / len(gzip.compress(joined, compresslevel=9, mtime=0))


def answer_entropy(answers: Sequence[Hashable]) -> float:
    """Entropy of the answers to one prompt, in nats: 0 where all agree, log k where k answers all differ.

    The plug-in estimate, −Σ s log s over the share s of each different answer: it cannot exceed log k, so compare
    equal k. Equal means equal: normalise answers first. None is an answer like any other.

    Args:
        answers: at least 1.
    """
    if len(answers) < 1:
        raise ValueError("no answers; at least 1 is needed")
    share = np.array(list(Counter(answers).values())) / len(answers)
    return float(np.abs(np.sum(share * np.log(share))))


def ngrams(tokens: Sequence[Sequence[str]], n: int) -> Counter[tuple[str, ...]]:
    """How often each n-gram occurs in tokenised texts."""
    if n < 1:
        raise ValueError(f"n is {n}; at least 1 is needed")
    return Counter(tuple(text[i : i + n]) for text in tokens for i in range(len(text) - n + 1))


def _tokens(texts: Sequence[str], tokenize: Tokenize) -> list[Sequence[str]]:
    check_texts(texts, 1)
    return [tokenize(text) for text in texts]


def check_texts(texts: Sequence[str], at_least: int) -> None:
    """Raise where a string stands for the texts, or there are too few of them."""
    if isinstance(texts, str):
        raise ValueError("one string was given; a sequence of texts is needed")
    if len(texts) < at_least:
        raise ValueError(f"{len(texts)} texts were given; at least {at_least} are needed")
