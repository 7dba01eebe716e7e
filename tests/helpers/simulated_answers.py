"""Answers of a simulated model, and the statistics of a result computed from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mergekit_calib.results.frontier import Changes, Estimate, Reliability

N_BINS = 15


@dataclass(frozen=True)
class Answers:
    """(n_items, 4) probabilities of the choices, and (n_items,) the correct choice."""

    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]

    @property
    def answer(self) -> NDArray[np.int64]:
        return self.probabilities.argmax(axis=1)

    @property
    def confidence(self) -> NDArray[np.float64]:
        return self.probabilities.max(axis=1)

    @property
    def correct(self) -> NDArray[np.bool_]:
        return self.answer == self.labels

    @property
    def brier(self) -> NDArray[np.float64]:
        return ((self.probabilities - np.eye(4)[self.labels]) ** 2).sum(axis=1)


def normalised(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> Answers:
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return Answers(p / p.sum(axis=1, keepdims=True), labels)


def simulate(lam: float, density: float, n_items: int, seed: int = 0) -> Answers:
    """A model that knows most just before λ = 1 and grows surer all the way."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=n_items)
    noise = rng.normal(size=(n_items, 4))
    knowledge = 1.15 + 0.75 * lam - 0.42 * lam**2 - 0.5 * (density - 0.7) ** 2
    logits = noise + knowledge * np.eye(4)[labels]
    logits *= 1.0 + 0.9 * max(lam, -0.5) + 0.3 * density
    return normalised(logits, labels)


def statistics(answers: Answers, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Metric → (n_resamples,) of weights (n_resamples, n_items)."""
    total = weights.sum(axis=1)
    index = np.minimum((answers.confidence * N_BINS).astype(int), N_BINS - 1)
    gaps = np.stack(
        [weights[:, index == b] @ (answers.confidence - answers.correct)[index == b] for b in range(N_BINS)]
    )
    counts = np.stack([weights[:, index == b].sum(axis=1) for b in range(N_BINS)])
    squares = np.divide(gaps**2, counts, out=np.zeros_like(gaps), where=counts > 0).sum(axis=0) / total
    return {
        "acc": weights @ answers.correct / total,
        "ece": np.abs(gaps).sum(axis=0) / total,
        "brier": weights @ answers.brier / total,
        "rms_ce_debiased": np.sqrt(np.clip(squares - 0.5 / total, 0, None)),
    }


def diagram(answers: Answers) -> Reliability:
    index = np.minimum((answers.confidence * N_BINS).astype(int), N_BINS - 1)
    members = [index == b for b in range(N_BINS)]
    return Reliability(
        edges=np.linspace(0, 1, N_BINS + 1).tolist(),
        counts=[int(m.sum()) for m in members],
        confidence=[float(answers.confidence[m].mean()) if m.any() else None for m in members],
        accuracy=[float(answers.correct[m].mean()) if m.any() else None for m in members],
    )


def changes(parent: Answers, point: Answers) -> Changes:
    def share(mask: NDArray[np.bool_]) -> Estimate:
        spread = 1.96 * float(mask.std()) / len(mask) ** 0.5
        return Estimate(value=float(mask.mean()), low=mask.mean() - spread, high=mask.mean() + spread, n=len(mask))

    kl = (parent.probabilities * np.log(parent.probabilities / point.probabilities)).sum(axis=1)
    return Changes(
        differ=share(parent.answer != point.answer),
        wrong_to_correct=share(~parent.correct & point.correct),
        correct_to_wrong=share(parent.correct & ~point.correct),
        kl=Estimate(value=float(kl.mean()), n=len(kl)),
    )
