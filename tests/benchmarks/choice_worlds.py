"""The worlds of `choice.py`: splits of the items of a finished sweep, and synthetic pairs whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from mergekit_calib import SweepResult, pareto
from mergekit_calib.metrics import brier_statistic, expected_calibration_error_statistic, nll_statistic

FloatArray = NDArray[np.float64]

METRICS = ("acc", "ece", "brier", "nll")
DIRECTIONS: tuple[pareto.Direction, ...] = ("maximize", "minimize", "minimize", "minimize")
N_BOOTSTRAP = 100  # for the standard error of differences in ECE
N_TRUTH = 20_000


@dataclass(frozen=True)
class Answers:
    """The answers of every point to the same items.

    Attributes:
        probabilities: (n_points, n_items, n_choices).
        labels: (n_items,) the position of the right choice.
        by_item: metric → (n_points, n_items), whose means are the metric: all but `ece`.
    """

    probabilities: FloatArray
    labels: NDArray[np.intp]
    by_item: Mapping[str, FloatArray]

    @classmethod
    def of(cls, probabilities: FloatArray, labels: NDArray[np.intp]) -> Answers:
        """Return answers with their metrics by item."""
        of_points = [
            {
                "acc": (p.argmax(axis=1) == labels).astype(np.float64),
                "brier": brier_statistic(p, labels).contributions[:, 0],
                "nll": nll_statistic(p, labels).contributions[:, 0],
            }
            for p in probabilities
        ]
        return cls(probabilities, labels, {m: np.array([point[m] for point in of_points]) for m in of_points[0]})

    def take(self, items: NDArray[np.intp]) -> Answers:
        """Return the answers to these items."""
        by_item = {metric: values[:, items] for metric, values in self.by_item.items()}
        return Answers(self.probabilities[:, items], self.labels[items], by_item)

    def values(self) -> FloatArray:
        """Return `METRICS` of every point: (n_points, 4)."""
        ece = [expected_calibration_error_statistic(p, self.labels).value() for p in self.probabilities]
        return np.array([ece if m == "ece" else self.by_item[m].mean(axis=1) for m in METRICS]).T

    def measured(self, rng: np.random.Generator) -> Measured:
        """Return the metrics with the standard errors of their paired differences."""
        n_points, n = len(self.probabilities), len(self.labels)
        weights = rng.multinomial(n, np.full(n, 1.0 / n), size=N_BOOTSTRAP).astype(np.float64)
        errors = np.empty((n_points, n_points, len(METRICS)))
        for k, metric in enumerate(METRICS):
            if metric == "ece":
                drawn = [
                    expected_calibration_error_statistic(p, self.labels).replicates(weights) for p in self.probabilities
                ]
                errors[:, :, k] = np.std(np.array(drawn)[:, None] - np.array(drawn), axis=-1, ddof=1)
            else:
                items = self.by_item[metric]
                products = items @ items.T
                squares = np.diag(products)
                sums = np.maximum(squares[:, None] + squares - 2.0 * products, 0.0)
                errors[:, :, k] = np.sqrt(sums) / n
        return Measured(self.values(), errors)


@dataclass(frozen=True)
class Measured:
    """The metrics of every point on some items.

    Attributes:
        values: (n_points, 4) `METRICS`.
        errors: (n_points, n_points, 4) the standard errors of the paired differences.
    """

    values: FloatArray
    errors: FloatArray

    def candidates(self, lambdas: FloatArray) -> pareto.Candidates:
        """Return the points with accuracy and ECE as objectives, as a sweep's analysis makes them."""
        ids = tuple(f"lambda={x:g}" for x in lambdas)
        scores = {
            m: pareto.PairedScore("minimize", self.values[:, k], self.errors[:, :, k])
            for k, m in enumerate(METRICS)
            if m != "acc"
        }
        return pareto.Candidates(
            ids=ids,
            objectives=METRICS[:2],
            directions=DIRECTIONS[:2],
            values=self.values[:, :2],
            standard_errors=self.errors[:, :, :2],
            scores=scores,
            proper=("brier", "nll"),
        )

    def regrets(self) -> FloatArray:
        """Return how much worse each point is than the best in each metric: (n_points, 4)."""
        better = pareto.gains(self.values, DIRECTIONS)
        return np.asarray(better.max(axis=0) - better)


@dataclass(frozen=True)
class Draw:
    """One repetition: the items to choose on, the items to judge on, and perhaps more.

    Attributes:
        selection: the items that a rule chooses on.
        other: the items that its choice is judged on.
        second: as many more items, for a choice on all; None where there are no more.
        truth: the metrics on many items; None where the truth is not known.
    """

    selection: Answers
    other: Answers
    second: Answers | None = None
    truth: Measured | None = None


@dataclass(frozen=True)
class World:
    """A source of items.

    Attributes:
        name: its name in the tables.
        lambdas: (n_points,).
        sizes: the numbers of items to choose on.
        draws: a size and how often → the repetitions.
    """

    name: str
    lambdas: FloatArray
    sizes: tuple[int, ...]
    draws: Callable[[int, int, np.random.Generator], Iterator[Draw]]


def real_world(name: str, folder: Path, sizes: tuple[int, ...]) -> World:
    """Return the world of the items of a finished sweep along λ, split at random."""
    sweep = SweepResult.load(folder)
    frame = sweep.items_frame()
    points = {float(p.axes["lambda"]): p.id for p in sweep.frontier.complete_points}
    lambdas = np.array(sorted(points))
    tables = [frame[frame["point"] == points[x]].reset_index(drop=True) for x in lambdas]
    widest = max(len(row) for row in tables[0]["log_likelihoods"])

    def padded(rows: Any) -> FloatArray:
        filled = np.full((len(rows), widest), -np.inf)
        for i, row in enumerate(rows):
            filled[i, : len(row)] = row
        top = filled.max(axis=1, keepdims=True)
        scaled = np.exp(filled - top)
        return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))

    labels = np.array([row[0] for row in tables[0]["labels"]])
    answers = Answers.of(np.array([padded(table["log_likelihoods"]) for table in tables]), labels)
    n_items = len(labels)

    def draws(n: int, repeats: int, rng: np.random.Generator) -> Iterator[Draw]:
        for _ in range(repeats):
            order = rng.permutation(n_items)
            has_second = 3 * n <= n_items
            second = answers.take(order[n : 2 * n]) if has_second else None
            yield Draw(answers.take(order[:n]), answers.take(order[2 * n if has_second else n :]), second)

    return World(name, lambdas, tuple(min(n, n_items // 2) for n in sizes), draws)


@dataclass(frozen=True)
class Pair:
    """A base and an aligned model whose scores of the choices are normal, in a world of its own.

    The score of a choice is a signal if it is the right one, plus noise of variance 1. With d the signal, d times the
    score is the logarithm of calibrated probabilities; `sharpness` multiplies it.

    Attributes:
        accuracy: base's and aligned's accuracy.
        sharpness: base's and aligned's: 1 is calibrated, above 1 overconfident.
        correlation: of the two models' noise.
        n_choices: the number of choices of each item.
    """

    accuracy: tuple[float, float]
    sharpness: tuple[float, float]
    correlation: float
    n_choices: int = 4
    lambdas: FloatArray = field(default_factory=lambda: np.round(np.arange(0.0, 1.55, 0.1), 10))

    def answers(self, n: int, rng: np.random.Generator) -> Answers:
        """Return the answers of every λ to n new items."""
        labels = rng.integers(0, self.n_choices, n)
        right = np.arange(self.n_choices) == labels[:, None]
        base_noise, own = rng.standard_normal((2, n, self.n_choices))
        noise = base_noise, self.correlation * base_noise + math.sqrt(1 - self.correlation**2) * own
        base, aligned = (
            sharp * signal * (signal * right + each)
            for sharp, signal, each in zip(
                self.sharpness, (signal_of(a, self.n_choices) for a in self.accuracy), noise, strict=True
            )
        )
        logits = np.array([base + x * (aligned - base) for x in self.lambdas])
        scaled = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return Answers.of(scaled / scaled.sum(axis=-1, keepdims=True), labels)

    def draws(self, n: int, repeats: int, rng: np.random.Generator) -> Iterator[Draw]:
        """Yield repetitions with the truth."""
        many = self.answers(N_TRUTH, rng)
        truth = Measured(many.values(), np.zeros(0))
        for _ in range(repeats):
            yield Draw(*(self.answers(n, rng) for _ in range(3)), truth=truth)


@cache
def signal_of(accuracy: float, n_choices: int) -> float:
    """Return the signal with which a model of `Pair` has this accuracy."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)

    def excess(signal: float) -> float:
        others_below = norm.cdf(nodes + signal) ** (n_choices - 1)
        return float(weights @ others_below / weights.sum() - accuracy)

    return float(brentq(excess, 0.0, 6.0))


def synthetic_worlds() -> list[World]:
    """Return the synthetic worlds of the docstring."""
    worlds = []
    for (name, sharpness), gain, correlation in product(
        {"calibrated": 1.0, "under-confident": 0.6}.items(), (-0.02, 0.0, 0.05), (0.95, 0.6)
    ):
        pair = Pair((0.6, 0.6 + gain), (sharpness, 2.5), correlation)
        label = f"{name}, {gain:+.2f}, ρ {correlation:g}"
        worlds.append(World(label, pair.lambdas, (150, 500, 1500), pair.draws))
    for n_choices, accuracy in ((2, 0.55), (5, 0.4), (10, 0.3)):
        pair = Pair((accuracy, accuracy + 0.02), (1.0, 2.5), 0.8, n_choices)
        worlds.append(World(f"small n, {n_choices} choices", pair.lambdas, (60, 125), pair.draws))
    return worlds


def joined(first: Answers, second: Answers) -> Answers:
    """Return the answers to the items of both."""
    by_item = {m: np.concatenate([first.by_item[m], second.by_item[m]], axis=1) for m in first.by_item}
    probabilities = np.concatenate([first.probabilities, second.probabilities], axis=1)
    return Answers(probabilities, np.concatenate([first.labels, second.labels]), by_item)
