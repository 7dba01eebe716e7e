"""Number of different texts as NoveltyBench counts them: `distinct_k` (Zhang et al. 2025, arXiv 2504.05228).

A text joins the first class whose first text it is equivalent to, or opens a class of its own. Two texts are equivalent
if a classifier says so that was trained on people's judgements; or, without it, if they share enough words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

from mergekit_calib.metrics.diversity import check_texts, with_empty_alike

CLASSIFIER = "yimingzhang/deberta-v3-large-generation-similarity"
"""NoveltyBench's classifier."""

_TOKENIZER = "microsoft/deberta-v3-large"  # that of its classifier, whose own repository has none
_THRESHOLD = 0.102  # of the probability that two texts are equivalent, as NoveltyBench chose it
_MOST_TOKENS = 128  # of each text
_FEW_WORDS = 5  # texts up to this length are compared by their words, in NoveltyBench too
_UNIGRAM_THRESHOLD = 0.458  # of ROUGE-1, as NoveltyBench chose it for its own comparison by words
_ROUGE_WORD = re.compile(r"[^\W_]+")

Equivalent = Callable[[str, str], bool]
"""Whether two texts count as one."""


def equivalence_classes(texts: Sequence[str], equivalent: Equivalent) -> list[int]:
    """Return the number of each text's class, from 0 in the order in which classes are opened, (k,).

    Each text is compared with the first text of each class so far, in order; equal texts are equivalent without being
    compared. All empty texts are one class.

    Args:
        texts: at least 1.
        equivalent: the first text of a class, and a text → whether the text belongs to it.
    """
    check_texts(texts, 1)
    first: list[str] = []
    classes = []
    for text in with_empty_alike(texts):
        # An empty text is equivalent to empty texts alone, whatever a classifier makes of nothing.
        number = next((i for i, of in enumerate(first) if of == text or (of and text and equivalent(of, text))), None)
        if number is None:
            number = len(first)
            first.append(text)
        classes.append(number)
    return classes


def distinct_k(texts: Sequence[str], classifier: str = CLASSIFIER, tokenizer: str = "") -> float:
    """Return the number of equivalence classes among k texts, 1 to k; more is more diverse. NoveltyBench has k = 10.

    It counts meanings, as a classifier judges them that reads the first 128 tokens of each text. Two texts of at most
    5 words are equivalent if they share half of the longer one's, as in NoveltyBench. The number cannot exceed k:
    compare equal k.

    Args:
        texts: at least 1.
        classifier: a model for sequence classification, by hub name or folder; its second class is "equivalent".
        tokenizer: its tokenizer; if empty, that of NoveltyBench's classifier, or the one beside another classifier.

    Raises:
        ImportError: transformers or torch is not installed.
        OSError: the classifier cannot be loaded; the message says what to use instead.
    """
    return float(max(equivalence_classes(texts, classified_equivalence(classifier, tokenizer))) + 1)


def distinct_k_ngrams(texts: Sequence[str]) -> float:
    """Return the number of classes of texts that share words, 1 to k; more is more diverse. It loads no model.

    As `distinct_k`, but two texts are equivalent if their ROUGE-1 F-measure is above 0.458, which is NoveltyBench's own
    comparison by words. It sees words, not meaning: paraphrases are different to it, and a text and its negation alike.
    So it is not NoveltyBench's `distinct_k`, and must not be compared with it.

    Args:
        texts: at least 1.
    """
    return float(max(equivalence_classes(texts, share_words)) + 1)


def share_words(one: str, other: str) -> bool:
    """Return whether the ROUGE-1 F-measure of two texts, in lower case, is above 0.458."""
    counts = [Counter(_ROUGE_WORD.findall(text.lower())) for text in (one, other)]
    total = counts[0].total() + counts[1].total()
    shared = (counts[0] & counts[1]).total()
    return total > 0 and 2 * shared / total > _UNIGRAM_THRESHOLD


def equivalent_if_short(one: str, other: str) -> bool | None:
    """Return whether two texts of at most 5 words are equivalent: they share half of the longer's; None for others."""
    mine, theirs = one.lower().split(), other.lower().split()
    longest = max(len(mine), len(theirs))
    return 2 * len(set(mine) & set(theirs)) >= longest if longest <= _FEW_WORDS else None


@lru_cache(maxsize=2)
def classified_equivalence(classifier: str = CLASSIFIER, tokenizer: str = "") -> Equivalent:
    """Return whether a classifier takes two texts for equivalent: its probability for that is above 0.102.

    The classifier is loaded once, by this call, to the GPU if there is one. The arguments and errors are those of
    `distinct_k`.
    """
    try:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
    except ImportError as problem:
        needed = "distinct_k needs `pip install mergekit-calib[semantic]`; distinct_k_ngrams needs no model"
        raise ImportError(needed) from problem
    named = tokenizer or (_TOKENIZER if classifier == CLASSIFIER else classifier)
    try:
        encode = AutoTokenizer.from_pretrained(named)
        model = AutoModelForSequenceClassification.from_pretrained(classifier)
    except (OSError, ValueError, ImportError) as problem:
        raise OSError(
            f"distinct_k: the classifier {classifier} with the tokenizer {named} cannot be loaded "
            f"({str(problem).splitlines()[0]}); give another as `classifier`, or use distinct_k_ngrams, which compares "
            "words instead of meanings and needs no model"
        ) from problem
    place = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(place).eval()

    @torch.inference_mode()
    def equivalent(one: str, other: str) -> bool:
        if (short := equivalent_if_short(one, other)) is not None:
            return short
        ids, types = [encode.cls_token_id], [0]
        for i, text in enumerate((one, other)):
            own = encode.encode(text, truncation=True, max_length=_MOST_TOKENS, add_special_tokens=False)
            ids += [*own, encode.sep_token_id]
            types += [i] * (len(own) + 1)
        as_tensors = [torch.tensor([numbers], device=place) for numbers in (ids, types)]
        logits = model(input_ids=as_tensors[0], token_type_ids=as_tensors[1]).logits
        return bool(logits.softmax(-1)[0, 1] > _THRESHOLD)

    return equivalent
