"""Similarity in meaning, by a sentence-transformers model; needs the extra `[semantic]`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mergekit_calib.metrics.similarity import embedding_kernel
from mergekit_calib.metrics.statistic import FloatArray

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""The default model."""


def sentence_kernel(model: str = MODEL, device: str | None = None) -> Callable[[Sequence[str]], FloatArray]:
    """Return a kernel for `vendi_score`: texts → (k, k) cosine similarity of their embeddings.

    Empty texts, which hold nothing but white space, are not embedded: their similarity is 1 to each other, and 0 to
    other texts.

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
        empty = np.array([not text.strip() for text in texts])
        similarities = np.outer(empty, empty).astype(np.float64)
        if not empty.all():
            embeddings = encoder.encode([text for text in texts if text.strip()], show_progress_bar=False)
            similarities[np.ix_(~empty, ~empty)] = embedding_kernel(embeddings)
        return similarities

    return kernel
