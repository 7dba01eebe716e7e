"""Diversity of the texts drawn for one prompt, by their similarity to each other: BLEU, ROUGE-L, Vendi score.

Each metric is a function of the texts of one prompt. Average it over prompts. Empty texts, which hold nothing but white
space, are equal to each other: two of them have BLEU 1, ROUGE-L 1 and similarity 1.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from mergekit_calib.metrics.diversity import Tokenize, check_texts, ngrams, with_empty_alike, words
from mergekit_calib.metrics.statistic import FloatArray

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

Kernel = Callable[[Sequence[str]], FloatArray]

_ROUGE_WORD = re.compile(r"[^\W_]+")


def self_bleu(texts: Sequence[str], max_order: int = 4) -> float:
    """Return the mean BLEU of each text with all others as its references, 0 to 1; less is more diverse.

    After Zhu et al. (2018), with sacrebleu's sentence BLEU (13a tokens, exponential smoothing, effective order), over
    100. A text equal to another counts as 1, even if both are empty. The mean grows with the number of texts: compare
    equal numbers.

    Args:
        texts: at least 2.
        max_order: the largest n of the n-grams that are compared.
    """
    check_texts(texts, 2)
    texts = with_empty_alike(texts)
    bleu = _bleu(max_order)
    scores = []
    for i, text in enumerate(texts):
        others = [*texts[:i], *texts[i + 1 :]]
        scores.append(1.0 if text in others else bleu.sentence_score(text, others).score / 100.0)
    return float(np.mean(scores))


def pairwise_rouge_l(texts: Sequence[str]) -> float:
    """Return the mean ROUGE-L F-measure over all pairs of texts, 0 to 1; less is more diverse.

    As rouge_score's `rougeL` without stemming, from the longest common subsequence of the words in lower case. Unlike
    rouge_score, which drops all letters but a to z, it keeps those of every script; and equal texts count as 1, even if
    they have no words.

    Args:
        texts: at least 2.
    """
    check_texts(texts, 2)
    texts = with_empty_alike(texts)
    tokens = [_ROUGE_WORD.findall(text.lower()) for text in texts]
    scores = []
    for i, j in combinations(range(len(texts)), 2):
        if texts[i] == texts[j]:
            scores.append(1.0)
        else:
            common = _common_subsequence(tokens[i], tokens[j])
            # 2PR / (P + R) of precision common/len_j and recall common/len_i.
            scores.append(2.0 * common / (len(tokens[i]) + len(tokens[j])) if common else 0.0)
    return float(np.mean(scores))


def vendi_score(texts: Sequence[str], kernel: Kernel | None = None, order: float = 1.0) -> float:
    """Return the effective number of different texts, 1 (all alike) to k (nothing in common).

    The exponential of the entropy of the eigenvalues of K/k, for the texts' similarity matrix K (Friedman and Dieng
    2023).

    Args:
        texts: at least 1.
        kernel: texts → (k, k) similarities, positive semi-definite with 1 on the diagonal; None for `ngram_kernel`, as
            in the vendi-score package's `ngram_vendi_score`.
        order: the order of the Rényi entropy, above 0; below 1 rare texts count for more, above 1 for less (Pasarkar
            and Dieng 2024).

    Raises:
        ValueError: the kernel's matrix is not of that kind, or the order is not above 0.
    """
    check_texts(texts, 1)
    return vendi_score_of_similarities(ngram_kernel(texts) if kernel is None else kernel(texts), order)


def vendi_score_of_similarities(similarities: ArrayLike, order: float = 1.0) -> float:
    """Return `vendi_score` from the similarities themselves.

    Args:
        similarities: (k, k) as a kernel returns them.
        order: as in `vendi_score`.

    Raises:
        ValueError: as `vendi_score`.
    """
    matrix = np.asarray(similarities, dtype=np.float64)
    k = len(matrix) if matrix.ndim else 0
    square = k > 0 and matrix.shape == (k, k)
    if not square or not np.allclose(np.diagonal(matrix), 1.0) or not np.allclose(matrix, matrix.T):
        raise ValueError(f"similarities of shape {matrix.shape} must be square and symmetric, with 1 on the diagonal")
    if not 0.0 < order <= np.inf:
        raise ValueError(f"order is {order}; above 0 is needed")
    share = np.linalg.eigvalsh(matrix / k)
    if share[0] < -1e-6:
        raise ValueError(f"similarities have a negative eigenvalue, {k * share[0]:.3g}; a kernel has none")
    share = share[share > 1e-12]  # smaller ones are rounding errors, which an order below 1 would magnify
    if order == 1.0:
        return float(np.exp(-np.sum(share * np.log(share))))
    if order == np.inf:
        return float(1.0 / share.max())
    return float(np.sum(share**order) ** (1.0 / (1.0 - order)))


def ngram_kernel(texts: Sequence[str], orders: Sequence[int] = (1, 2, 3, 4), tokenize: Tokenize = words) -> FloatArray:
    """Return the cosine similarity of the texts' n-gram counts, averaged over the orders n; (k, k), 0 to 1.

    In an order for which a text is too short, its similarity is 1 to texts of the same words, and 0 to others.

    Args:
        texts: at least 1.
        orders: each n of the n-grams.
        tokenize: a text → its words.
    """
    check_texts(texts, 1)
    tokens = [tuple(tokenize(text)) for text in texts]
    same: FloatArray = np.array([[float(a == b) for b in tokens] for a in tokens])
    kernel: FloatArray = np.mean([_cosines([ngrams([text], n) for text in tokens], same) for n in orders], axis=0)
    return kernel


def embedding_kernel(embeddings: ArrayLike) -> FloatArray:
    """Return the cosine similarity of the texts' embeddings, (k, k).

    Args:
        embeddings: (k, d) one vector for each text, none of them 0.

    Raises:
        ValueError: the embeddings have another shape, are not finite, or hold a zero vector.
    """
    vectors = np.asarray(embeddings, dtype=np.float64)
    if vectors.ndim != 2 or not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
        raise ValueError(f"embeddings of shape {vectors.shape} must be (k, d), finite, and no vector 0")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines: FloatArray = unit @ unit.T
    return cosines


def _cosines(counts: Sequence[Counter[tuple[str, ...]]], same: FloatArray) -> FloatArray:
    """Return the cosines of the counts, (k, k); those of `same` where either text has no counts."""
    column = {gram: i for i, gram in enumerate(dict.fromkeys(gram for count in counts for gram in count))}
    matrix = np.zeros((len(counts), len(column)))
    for row, count in enumerate(counts):
        matrix[row, [column[gram] for gram in count]] = list(count.values())
    length = np.linalg.norm(matrix, axis=1)
    empty = length == 0
    unit = matrix / np.where(empty, 1.0, length)[:, None]
    return np.where(empty[:, None] | empty, same, unit @ unit.T)


def _common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the longest common subsequence (Hyyrö 2004: a row of the table is an integer's bits)."""
    places: dict[str, int] = {}
    for i, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << i
    full = (1 << len(a)) - 1
    row = full
    for word in b:
        match = row & places.get(word, 0)
        row = ((row + match) | (row - match)) & full
    return len(a) - row.bit_count()


@lru_cache(maxsize=8)
def _bleu(max_order: int) -> BLEU:
    # Imported here: importing sacrebleu takes half a second, which most users of these metrics need not spend.
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(effective_order=True, max_ngram_order=max_order)
