"""Items and texts for tests of metrics: random ones, adversarial ones, and hypothesis strategies. Needs no torch."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Items = tuple[NDArray[np.float64], NDArray[np.int64]]


def random_items(n_items: int = 500, n_choices: int = 4, seed: int = 0, sharpness: float = 1.0) -> Items:
    """Return items of equally many choices, whose labels are drawn from sharpened probabilities: not calibrated."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(n_choices, 0.7), n_items)
    truth = p**sharpness
    return p, drawn_labels(truth / truth.sum(axis=1, keepdims=True), rng)


def drawn_labels(p: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a label for each row of probabilities, drawn from it."""
    return (np.nancumsum(p, axis=1) < rng.random((len(p), 1)) * (1 - 1e-12)).sum(axis=1)


def adversarial_items() -> dict[str, Items]:
    """Return edge cases by name. Their probabilities are dyadic, so exact in every precision."""
    rng = np.random.default_rng(1)
    edges = rng.integers(32, 65, 400) / 64
    at_edges = np.stack([edges, 1 - edges], axis=1)
    sure = np.eye(3)[rng.integers(0, 3, 100)]
    uniform = np.full((60, 4), 0.25)
    return {
        "confidence at bin edges": (at_edges, rng.integers(0, 2, 400)),
        "certain, correct or wrong": (sure, rng.integers(0, 3, 100)),
        "certain and always correct": (sure, sure.argmax(axis=1)),
        "certain and always wrong": (sure, (sure.argmax(axis=1) + 1) % 3),
        "uniform, so all tied": (uniform, rng.integers(0, 4, 60)),
        "one item, correct": (np.array([[0.75, 0.25]]), np.array([0])),
        "one item, wrong": (np.array([[0.75, 0.25]]), np.array([1])),
        "two items": (np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([1, 0])),
    }


@st.composite
def items(draw: st.DrawFn, min_items: int = 1, max_items: int = 25) -> Items:
    """Draw ragged items of 1 to 5 choices; few different scores, so ties and zeros are common."""
    rows = draw(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=5), min_size=min_items, max_size=max_items))
    width = max(len(row) for row in rows)
    p = np.full((len(rows), width), np.nan)
    for i, row in enumerate(rows):
        weights = np.array(row, dtype=float) if any(row) else np.ones(len(row))
        p[i, : len(row)] = weights / weights.sum()
    labels = [draw(st.integers(0, len(row) - 1)) for row in rows]
    return p, np.array(labels)


def top(p: NDArray[np.float64], y: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the confidence of each answer, and whether it is correct, without the code under test."""
    return np.nanmax(p, axis=1), np.nanargmax(p, axis=1) == y


WORDS = ["the", "cat,", "sat", "on", "a", "mat", "while", "dogs", "Ran", "far", "away", "."]

small_texts = st.lists(
    st.lists(st.sampled_from([*WORDS, "(x_1)", "!"]), max_size=14).map(" ".join), min_size=2, max_size=6
)


def random_texts(n_texts: int, seed: int, n_words: int = 30) -> list[str]:
    """Return texts of 5 to n_words − 1 words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(5, n_words))) for _ in range(n_texts)]
