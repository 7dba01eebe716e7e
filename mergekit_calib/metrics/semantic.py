"""Similarity in meaning, by a sentence-transformers model; needs the extra `[semantic]`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mergekit_calib.metrics.diversity import with_empty_alike
from mergekit_calib.metrics.similarity import embedding_kernel
from mergekit_calib.metrics.statistic import FloatArray

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""The default model."""


def sentence_kernel(model: str = MODEL, device: str | None = None) -> Callable[[Sequence[str]], FloatArray]:
    """Return a kernel for `vendi_score`: texts → (k, k) cosine similarity of their embeddings.

    Empty texts, which hold nothing but white space, are alike: each is embedded as "".

    Args:
        model: a sentence-transformers model, by hub name or folder; it is loaded once, by this call.
        device: where it runs; None for the GPU if there is one.

    Raises:
        ImportError: sentence-transformers is not installed.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as problem:
        raise ImportError("similarity in meaning needs `pip install mergekit-calib[semantic]`") from problem
    encoder = SentenceTransformer(model, device=device)

    def kernel(texts: Sequence[str]) -> FloatArray:
        return embedding_kernel(encoder.encode(with_empty_alike(texts), show_progress_bar=False))

    return kernel
