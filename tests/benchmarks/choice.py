"""Compare rules that choose a point, over many splits of real item scores and in synthetic worlds with known truth.

    python tests/benchmarks/choice.py --demo OUT [--real OUT] [--splits 200]

OUT is the folder of a finished sweep: of the demo on a grid (`mergekit-yaml tests/benchmarks/choice_demo.yml OUT`), and
of the real pair (`mergekit-yaml tests/benchmarks/choice_real_pair.yml OUT`). It takes some ten minutes of a core.

A rule chooses on n items, and its choice is judged on the items that no rule chose on. Worlds:

- `demo`: random splits of the demo's 5,000 items, n = 250, 500, 1,250 and 2,500.
- `real`: random splits of the real pair's items, n = 200, 400, and half of the items.
- twelve synthetic worlds of 16 points along λ in 0 to 1.5 with four choices, n = 150, 500 and 1,500: base calibrated or
  under-confident; aligned 0.02 less accurate than base, as accurate, or 0.05 more accurate; the two models' errors
  nearly the same (correlation 0.95) or rather independent (0.6). Aligned is overconfident in all of them.
- three more with the sizes of BIG-Bench Hard's tasks, n = 60 and 125: 2, 5 and 10 choices, accuracies of 0.55, 0.4
  and 0.3, errors that correlate by 0.8.

Criteria, each divided by a loss that a user would notice, fixed before any result was seen:

- the share of choices that another point dominates on the other items (`pareto.dominates`), by 0.10;
- the mean regret on the other items (in synthetic worlds: on 20,000 items), against the best point of each metric:
  accuracy by 0.005, Brier score by 0.005, NLL by 0.01, ECE by 0.01;
- the standard deviation of the chosen λ, by 0.1.

A world's loss is the mean of these six, over its sizes. A rule's score is half the mean over all worlds, half the worst
world. Of the rows that choose on n items, the least score wins, and its rule is `pareto.DEFAULT_RULE`. That rule's
"all:" row decides whether points are chosen on all items.

"all:" rows choose on 2 n items, the n and as many others, where there are 3 n.
For the default rule, the benchmark also compares what would be quoted with the truth, in the synthetic worlds: the
choice of one half as the other half measures it; and for a choice on all items, the mean of each half's choice as the
other half measures it (cross-fitting).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from mergekit_calib import SweepResult, pareto
from mergekit_calib.metrics import brier_statistic, expected_calibration_error_statistic, nll_statistic

FloatArray = NDArray[np.float64]

METRICS = ("acc", "ece", "brier", "nll")
DIRECTIONS: tuple[pareto.Direction, ...] = ("maximize", "minimize", "minimize", "minimize")
UNITS = {"dominated": 0.10, "acc": 0.005, "brier": 0.005, "nll": 0.01, "ece": 0.01, "spread": 0.1}
N_BOOTSTRAP = 100  # for the standard error of differences in ECE
N_TRUTH = 20_000

RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "knee": ("knee", {}),
    "one_se, Brier then ECE": ("one_se", {"score": "brier", "then": "ece"}),
    "one_se, Brier then NLL": ("one_se", {"score": "brier", "then": "nll"}),
    "one_se, NLL then ECE": ("one_se", {"score": "nll", "then": "ece"}),
    "one_se, NLL then Brier": ("one_se", {"score": "nll", "then": "brier"}),
    "least Brier": ("least", {"score": "brier"}),
    "least NLL": ("least", {"score": "nll"}),
    "max accuracy": ("max", {"objective": "acc"}),
}


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


def judged(world: World, n: int, repeats: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return each rule's criteria in a world at one size, and what is quoted for the default rule against the truth."""
    rows: list[dict[str, Any]] = []
    quoted: list[dict[str, float]] = []
    for draw in world.draws(n, repeats, rng):
        first, other = draw.selection.measured(rng), draw.other.measured(rng)
        judges = draw.truth or other
        regrets, dominated = judges.regrets(), other.candidates(world.lambdas).dominates.any(axis=0)
        measured = {"": first}
        if draw.second is not None:
            measured["all: "] = joined(draw.selection, draw.second).measured(rng)
        chosen: dict[str, int] = {}
        for prefix, sample in measured.items():
            candidates = sample.candidates(world.lambdas)
            for label, (rule, options) in RULES.items():
                at = chosen[prefix + label] = candidates.ids.index(pareto.select(rule, candidates, options).id)
                row = dict(zip(METRICS, regrets[at], strict=True))
                rows.append({"rule": prefix + label, "dominated": dominated[at], "spread": world.lambdas[at], **row})
        if draw.truth is not None and draw.second is not None:
            second = draw.second.measured(rng)
            quoted.append(quotes(world.lambdas, first, second, measured["all: "], draw.truth))
    by_rule = pd.DataFrame(rows).groupby("rule", sort=False)
    criteria = by_rule[["dominated", *METRICS]].mean()
    criteria["spread"] = by_rule["spread"].std(ddof=1)
    return criteria, pd.DataFrame(quoted)


def quotes(lambdas: FloatArray, first: Measured, second: Measured, both: Measured, truth: Measured) -> dict[str, float]:
    """Return the errors of two ways to quote accuracy and ECE of the default rule's choice."""

    def choice(sample: Measured) -> int:
        candidates = sample.candidates(lambdas)
        return candidates.ids.index(pareto.select(pareto.DEFAULT_RULE, candidates, {}).id)

    on_first, on_second, on_both = choice(first), choice(second), choice(both)
    errors = {}
    for k, metric in enumerate(METRICS[:2]):
        errors[f"{metric}, one half"] = second.values[on_first, k] - truth.values[on_first, k]
        crossed = (second.values[on_first, k] + first.values[on_second, k]) / 2.0
        errors[f"{metric}, cross-fitted"] = crossed - truth.values[on_both, k]
    return errors


def joined(first: Answers, second: Answers) -> Answers:
    """Return the answers to the items of both."""
    by_item = {m: np.concatenate([first.by_item[m], second.by_item[m]], axis=1) for m in first.by_item}
    probabilities = np.concatenate([first.probabilities, second.probabilities], axis=1)
    return Answers(probabilities, np.concatenate([first.labels, second.labels]), by_item)


def losses(criteria: pd.DataFrame) -> pd.DataFrame:
    """Return the six criteria in the units of the docstring."""
    return criteria[list(UNITS)] / pd.Series(UNITS)


@click.command()
@click.option("--demo", type=click.Path(path_type=Path, exists=True), help="Folder of the demo's finished sweep.")
@click.option("--real", type=click.Path(path_type=Path, exists=True), help="Folder of a real pair's finished sweep.")
@click.option("--splits", default=200, show_default=True, help="Splits of the items of each sweep and size.")
@click.option("--draws", default=100, show_default=True, help="Draws of each synthetic world and size.")
def main(demo: Path | None, real: Path | None, splits: int, draws: int) -> None:
    """Print the tables as Markdown."""
    worlds = synthetic_worlds()
    if real is not None:
        worlds.insert(0, real_world("real pair", real, (200, 400, 10**9)))
    if demo is not None:
        worlds.insert(0, real_world("demo", demo, (250, 500, 1250, 2500)))
    by_world: dict[str, pd.Series] = {}
    every_quote = []
    criteria_of: dict[tuple[str, int], pd.DataFrame] = {}
    for i, world in enumerate(worlds):
        of_sizes = []
        for n in world.sizes:
            repeats = draws if world.name not in ("demo", "real pair") else splits
            criteria, quoted = judged(world, n, repeats, np.random.default_rng([i, n]))
            criteria_of[world.name, n] = criteria
            of_sizes.append(losses(criteria).mean(axis=1))
            if len(quoted):
                every_quote.append(quoted.assign(world=world.name, n=n))
        by_world[world.name] = pd.concat(of_sizes, axis=1).mean(axis=1)
        click.echo(f"{world.name}: done", err=True)
    print_tables(pd.DataFrame(by_world), criteria_of, pd.concat(every_quote))


def print_tables(
    by_world: pd.DataFrame, criteria_of: Mapping[tuple[str, int], pd.DataFrame], quoted: pd.DataFrame
) -> None:
    """Print the scores, the losses of every world, the criteria by size, and the errors of what is quoted."""
    scores = pd.DataFrame(
        {
            "score": (by_world.mean(axis=1) + by_world.max(axis=1)) / 2.0,
            "mean of worlds": by_world.mean(axis=1),
            "worst world": by_world.max(axis=1),
            "which": by_world.idxmax(axis=1),
        }
    )
    click.echo(scores.sort_values("score").to_markdown(floatfmt=".2f"))
    click.echo("\nLoss in each world:\n\n" + by_world.T.to_markdown(floatfmt=".2f"))
    for (name, n), criteria in criteria_of.items():
        if name in ("demo", "real pair"):
            shown = criteria * pd.Series({**dict.fromkeys(METRICS, 1000.0), "dominated": 100.0, "spread": 1.0})
            click.echo(f"\n{name}, n = {n:,} (dominated in %, regrets in thousandths):\n")
            click.echo(shown[list(UNITS)].to_markdown(floatfmt=".2f"))
    click.echo("\nErrors of the quoted numbers, in thousandths, by n:\n")
    errors = quoted.drop(columns="world").groupby("n")
    table = pd.concat({"bias": errors.mean(), "root mean square": (errors.agg(lambda e: (e**2).mean() ** 0.5))}, axis=1)
    click.echo((1000.0 * table).to_markdown(floatfmt=".1f"))


if __name__ == "__main__":
    main()
