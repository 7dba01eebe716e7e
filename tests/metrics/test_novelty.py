"""`distinct_k`: the partition by hand, with small classifiers whose judgement is known, and by words."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from mergekit_calib import metrics
from mergekit_calib.metrics.novelty import classified_equivalence, equivalent_if_short, share_words

torch = pytest.importorskip("torch", reason="torch is not installed, which the classifier needs")

import tokenizers  # noqa: E402
import transformers  # noqa: E402

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "green", "blue", "the", "cat"]
LONG = "the cat the cat the cat"  # more than five words, so that the classifier is asked


def classifier_with(bias: float, folder: Path) -> str:
    """Save a BERT of one layer, random but for the bias on "equivalent"; return the folder."""
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(**size, vocab_size=len(WORDS), num_labels=2, initializer_range=1.0)
    model = transformers.BertForSequenceClassification(config)
    model.classifier.bias.data = torch.tensor([0.0, bias])
    model.save_pretrained(folder)
    return str(folder)


def test_a_text_joins_the_first_class_whose_first_text_it_is_equivalent_to():
    compared = []

    def near(one: str, other: str) -> bool:
        compared.append((one, other))
        return abs(int(one) - int(other)) <= 1

    # 2 joins 1; 3 is near 2 but not near 1, so it opens a class; 4 joins 3; 1 equals 1 without being compared.
    assert metrics.equivalence_classes(["1", "2", "3", "4", "1"], near) == [0, 0, 1, 1, 0]
    assert compared == [("1", "2"), ("1", "3"), ("1", "4"), ("3", "4")]


def test_empty_texts_are_one_class_of_their_own_whatever_the_comparison_says():
    assert metrics.equivalence_classes(["a", "", " \n", "b"], lambda one, other: True) == [0, 1, 1, 0]
    assert metrics.distinct_k_ngrams(["", " "]) == 1.0


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("Blue", "blue ", True),
        ("a red cat", "a blue cat", True),  # 2 of 3
        ("red", "blue cat", False),
        ("one two three four", "one two five six", True),  # 2 of 4
        ("one two three four five", "one two six", False),  # 2 of 5
        (LONG, "red", None),
    ],
)
def test_short_texts_are_compared_by_their_words_as_in_noveltybench(one, other, expected):
    assert equivalent_if_short(one, other) is expected


def test_the_classifier_reads_both_texts_as_one_pair_and_decides_at_noveltybenchs_threshold(tmp_path):
    plain = classifier_with(0.0, tmp_path / "plain")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(plain).eval()
    encode = transformers.AutoTokenizer.from_pretrained(plain)

    @torch.no_grad()
    def log_odds(one: str, other: str) -> float:
        ids, types = [], []
        for i, part in enumerate((f"[CLS] {one} [SEP]", f"{other} [SEP]")):
            own = encode.convert_tokens_to_ids(part.split())
            ids, types = ids + own, types + [i] * len(own)
        no, yes = model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types])).logits[0].tolist()
        return yes - no

    texts = [f"{colour} {LONG}" for colour in ("red", "green", "blue", "red green", "blue blue the")]
    odds = {pair: log_odds(*pair) for pair in itertools.product(texts, texts)}
    # With this bias the threshold lies between the two middle pairs.
    low, high = sorted(odds.values())[11:13]
    bias = float(np.log(0.102 / 0.898)) - (low + high) / 2
    equivalent = classified_equivalence(classifier_with(bias, tmp_path / "moved"))
    assert {pair: equivalent(*pair) for pair in odds} == {pair: value >= high for pair, value in odds.items()}


def test_distinct_k_counts_the_classes_that_the_classifier_makes(tmp_path):
    texts = [f"{colour} {LONG}" for colour in ("red", "green", "blue", "red")]
    assert metrics.distinct_k(texts, classifier_with(30.0, tmp_path / "sees_no_difference")) == 1.0
    assert metrics.distinct_k(texts, classifier_with(-30.0, tmp_path / "sees_any_difference")) == 3.0


def test_a_classifier_that_cannot_be_loaded_names_what_needs_none(tmp_path):
    with pytest.raises(OSError, match=r"no_such.*cannot be loaded.*distinct_k_ngrams, which compares words"):
        metrics.distinct_k(["a", "b"], str(tmp_path / "no_such"))


def test_sharing_words_is_rouge_1():
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rouge1"])
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["Red", "green,", "blue", "the", "cat."], size=rng.integers(1, 9))) for _ in range(30)]
    judged = [(share_words(a, b), scorer.score(a, b)["rouge1"].fmeasure > 0.458) for a in texts for b in texts]
    assert all(mine == theirs for mine, theirs in judged)
    assert len({mine for mine, _ in judged}) == 2


def test_classes_by_words_by_hand():
    texts = ["the red cat", "the red dog", "a poem on winter", "the blue dog"]
    # F of the first two is 2/3; of "the blue dog" with "the red cat" it is 1/3, and it does not see "the red dog".
    assert metrics.distinct_k_ngrams(texts) == 3.0
