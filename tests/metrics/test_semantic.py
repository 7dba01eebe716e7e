"""The Vendi score of embeddings, by a small model with random weights; skipped where torch is not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed, which sentence-transformers needs")

import tokenizers  # noqa: E402
import transformers  # noqa: E402

from mergekit_calib import metrics  # noqa: E402


def save_encoder(folder: Path, pre_tokenizer: tokenizers.pre_tokenizers.PreTokenizer) -> str:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "cat", "dog", "sky", "sea", "the", " "]
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizer
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.BertModel(transformers.BertConfig(**size, vocab_size=len(words))).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    """A BERT of one layer and five words."""
    return save_encoder(tmp_path_factory.mktemp("encoder"), tokenizers.pre_tokenizers.Whitespace())


def test_equal_texts_count_as_one(encoder):
    kernel = metrics.sentence_kernel(encoder, device="cpu")
    assert metrics.vendi_score(["the cat", "the cat", "the cat"], kernel) == pytest.approx(1.0, abs=1e-3)
    similarity = kernel(["the cat", "the dog", "sky"])
    np.testing.assert_allclose(similarity, similarity.T, atol=1e-6)
    np.testing.assert_allclose(np.diagonal(similarity), 1.0, atol=1e-6)
    assert 1.0 < metrics.vendi_score(["the cat", "sky", "sea sea"], kernel) <= 3.0


def test_empty_texts_are_alike_and_unlike_others_even_if_the_tokenizer_makes_tokens_of_spaces_or_none(tmp_path):
    keeps_spaces = tokenizers.pre_tokenizers.Split(" ", "isolated")
    kernel = metrics.sentence_kernel(save_encoder(tmp_path, keeps_spaces), device="cpu")
    similarity = kernel(["", "the sky", "  ", "the cat"])
    assert similarity[np.ix_([0, 2], [0, 2])].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert similarity[np.ix_([0, 2], [1, 3])].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    np.testing.assert_allclose(similarity[np.ix_([1, 3], [1, 3])], kernel(["the sky", "the cat"]), atol=1e-6)
    assert metrics.vendi_score(["", "\n"], kernel) == pytest.approx(1.0)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"pip install mergekit-calib\[semantic\]"):
        metrics.sentence_kernel()
