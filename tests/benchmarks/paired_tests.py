"""Simulate how often paired tests make a false claim, how often they find a true gain, and what intervals cover.

    python tests/benchmarks/paired_tests.py [--sets 500]

It takes some four minutes of an idle core. Each row is a world of two models that answer the same n items. In each of
many sets of items, one-sided tests ask whether the second model is better. Tests:

- `signs`: random signs of the items' differences (`metrics.sign_flip_p_value`; only for means);
- `t`: observed difference / standard deviation of its replicates (`metrics.bootstrap_p_value`);
- `counted`: the share of replicates, centred at 0, that reach the observed difference;
- `percentile`: the share of replicates that are not above 0;
- `basic`: the share of replicates that are at least twice the observed difference.

Intervals are those of `PairedDifference`, and the two that the bootstrap gives: percentile and centred. The last
table shows how p varies with the seed of the resamples, on one set of items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import click
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from mergekit_calib import metrics
from mergekit_calib.analysis.paired_difference import PairedDifference

FloatArray = NDArray[np.float64]

N_BINS, N_RESAMPLES, LEVEL = 15, 1000, 0.05
TESTS = ("signs", "t", "counted", "percentile", "basic")


@dataclass(frozen=True)
class Model:
    """A simulated model: mean and spread of the logits of confidence; `gap` is confidence minus expected accuracy."""

    mean: float = 1.0
    spread: float = 1.5
    gap: float = 0.0


def answers(
    models: list[Model], n_items: int, rng: np.random.Generator, correlation: float = 0.9
) -> tuple[FloatArray, FloatArray]:
    """Return confidences and correctness, each (n_models, n_items), which are correlated between models by item."""
    shared, own = np.sqrt(correlation), np.sqrt(1.0 - correlation)
    shape = (len(models), n_items)
    latent = shared * rng.standard_normal(n_items) + own * rng.standard_normal(shape)
    mean, spread, gap = (np.array([[getattr(m, name)] for m in models]) for name in ("mean", "spread", "gap"))
    confidence = 0.25 + 0.75 * expit(mean + spread * latent)
    uniform = ndtr(shared * rng.standard_normal(n_items) + own * rng.standard_normal(shape))
    return confidence, (uniform < confidence - gap).astype(float)


def binned_errors(confidence: FloatArray, correct: FloatArray, weights: FloatArray) -> FloatArray:
    """Return (n_resamples, n_models) ECEs, for weights (n_resamples, n_items) that sum to n_items."""
    n_models, n_items = confidence.shape
    gap = np.zeros((n_items, n_models, N_BINS))
    columns = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    gap[np.arange(n_items)[:, None], np.arange(n_models), columns.T] = (confidence - correct).T
    binned = (weights @ gap.reshape(n_items, -1)).reshape(len(weights), n_models, N_BINS)
    errors: FloatArray = np.abs(binned).sum(axis=-1) / n_items
    return errors


@dataclass(frozen=True)
class World:
    """Two models, and the true difference in which the second one may be better.

    Attributes:
        name: as the table shows it.
        n_items: the number of items of a set.
        truth: the true difference, with a sign such that more is better.
        draw: random numbers and weights (n_resamples, n_items) → one set of items' difference. Its replicates have a
            sign such that more is better.
    """

    name: str
    n_items: int
    truth: float
    draw: Callable[[np.random.Generator, FloatArray], PairedDifference]


def of_means(differences: FloatArray, weights: FloatArray) -> PairedDifference:
    return PairedDifference(differences.mean(), weights @ differences / len(differences), True, differences)


def accuracies(n_items: int, n_discordant: float, in_favour: float) -> World:
    """Return a world in which each item is discordant with one probability, and in favour with another."""
    share = n_discordant / n_items
    odds = [share * in_favour, share * (1.0 - in_favour), 1.0 - share]

    def draw(rng: np.random.Generator, weights: FloatArray) -> PairedDifference:
        return of_means(rng.choice([1.0, -1.0, 0.0], n_items, p=odds), weights)

    name = f"accuracy, {n_discordant:g} discordant items expected, {100 * in_favour:g} % in favour"
    return World(name, n_items, share * (2.0 * in_favour - 1.0), draw)


def proper_scores(score: str, n_items: int, models: list[Model], effect: float) -> World:
    """Return a world of two models whose differences in a proper score have their true mean taken off.

    Args:
        score: `brier` or `nll` of a confidence, as a score of two outcomes.
        n_items: the number of items.
        models: two.
        effect: the true difference, in standard errors of the mean difference.
    """

    def gains(n: int, rng: np.random.Generator) -> FloatArray:
        confidence, correct = answers(models, n, rng)
        losses = (confidence - correct) ** 2
        if score == "nll":
            losses = -np.log(np.where(correct > 0.5, confidence, 1.0 - confidence))
        differences: FloatArray = losses[0] - losses[1]
        return differences

    many = gains(1_000_000, np.random.default_rng(0))
    truth = effect * float(many.std()) / np.sqrt(n_items)

    def draw(rng: np.random.Generator, weights: FloatArray) -> PairedDifference:
        return of_means(gains(n_items, rng) - many.mean() + truth, weights)

    skewness = float(np.mean((many - many.mean()) ** 3) / many.std() ** 3)
    return World(f"{score}, gain of {effect:g} standard errors, skewness {skewness:.1f}", n_items, truth, draw)


def calibration_errors(name: str, n_items: int, models: list[Model]) -> World:
    """Return a world of two models' ECE."""
    # The accuracies of a bin of many items have little noise, but without it a calibrated model's ECE would not be 0.
    confidence, _ = answers(models, 400_000, np.random.default_rng(0))
    true = binned_errors(confidence, confidence - np.array([[m.gap] for m in models]), np.ones((1, 400_000)))[0]

    def draw(rng: np.random.Generator, weights: FloatArray) -> PairedDifference:
        confidence, correct = answers(models, n_items, rng)
        first, second = binned_errors(confidence, correct, np.vstack([np.ones(n_items), weights])).T
        gain = first - second
        return PairedDifference(float(gain[0]), gain[1:], False, None)

    return World(f"ece, {name}", n_items, float(true[0] - true[1]), draw)


OVER, CALIBRATED = Model(gap=0.05), Model()
NULLS = {
    "both .05": [OVER, OVER],
    "both .05, accuracy .60 and .70": [replace(OVER, mean=0.2), OVER],
    "both .05, accuracy .70 and .60": [OVER, replace(OVER, mean=0.2)],
    "both .05, sharper": [OVER, replace(OVER, spread=2.5)],
    "both .05, less sharp": [replace(OVER, spread=2.5), OVER],
    "both .15, accuracy .50 and .60": [Model(mean=0.2, gap=0.15), Model(gap=0.15)],
    "both calibrated": [CALIBRATED, CALIBRATED],
    "both calibrated, accuracy .75 and .84": [CALIBRATED, Model(mean=1.8)],
    "both calibrated, accuracy .75 and .90": [CALIBRATED, Model(mean=2.5)],
}
GAINS = {".05 and .02": [OVER, Model(gap=0.02)], ".10 and .05": [Model(gap=0.10), OVER]}


def worlds() -> Iterator[World]:
    """Yield the worlds of the table."""
    for n_items, discordant in ((50, 4), (150, 4), (150, 12), (500, 12), (500, 60)):
        for in_favour in (0.5, 0.8):
            yield accuracies(n_items, discordant, in_favour)
    unlike = [Model(gap=0.10), Model(mean=2.0, spread=2.5)]
    for score in ("brier", "nll"):
        for n_items in (50, 150, 500):
            for models in ([OVER, OVER], unlike, unlike[::-1]):
                for effect in (0.0, 2.0):
                    yield proper_scores(score, n_items, models, effect)
    for n_items in (150, 500, 1500):
        for name, models in {**NULLS, **GAINS}.items():
            yield calibration_errors(name, n_items, models)


def p_values(difference: PairedDifference) -> dict[str, float]:
    """Return test → one-sided p of a gain."""
    drawn, observed = difference.replicates, difference.value

    def share(reaching: NDArray[np.bool_]) -> float:
        return float((1 + np.count_nonzero(reaching)) / (1 + len(drawn)))

    p = {
        "t": metrics.bootstrap_p_value(drawn, observed),
        "counted": share(drawn - drawn.mean() >= observed - 1e-12) if np.ptp(drawn) else 1.0,
        "percentile": share(drawn <= 1e-12),
        "basic": share(drawn >= 2.0 * observed - 1e-12),
    }
    return p | ({} if difference.of_items is None else {"signs": difference.p_value(1.0)})


def covers(difference: PairedDifference, truth: float) -> dict[str, bool]:
    """Return interval → whether the one of 95 % holds the truth."""
    low, high = np.quantile(difference.replicates, [0.025, 0.975])
    shift = difference.value - difference.replicates.mean()
    ours = difference.interval(0.95)
    return {
        "ours": ours[0] - 1e-12 <= truth <= ours[1] + 1e-12,
        "percentile": low - 1e-12 <= truth <= high + 1e-12,
        "centred": low + shift - 1e-12 <= truth <= high + shift + 1e-12,
    }


def row(world: World, n_sets: int) -> str:
    """Return the world's row of the table."""
    rng = np.random.default_rng(1)
    weights = [metrics.resample_weights(world.n_items, N_RESAMPLES, seed) for seed in range(10)]
    claims = dict.fromkeys(TESTS, 0)
    covered = {"ours": 0, "percentile": 0, "centred": 0}
    for i in range(n_sets):
        difference = world.draw(rng, weights[i % len(weights)])
        p = p_values(difference)
        for test, value in p.items():
            claims[test] += value <= LEVEL
        for interval, does in covers(difference, world.truth).items():
            covered[interval] += does
    shares = [f"{100 * claims[test] / n_sets:.1f}" if test in p else "" for test in TESTS]
    return " | ".join([world.name, str(world.n_items), *shares, *(f"{100 * c / n_sets:.1f}" for c in covered.values())])


def seeds(n_seeds: int = 200) -> Iterator[str]:
    """Yield rows of the table of how p varies with the seed, on sets of items whose p is near a level."""
    models, n_items = GAINS[".05 and .02"], 500
    world = calibration_errors("", n_items, models)
    weights = [metrics.resample_weights(n_items, N_RESAMPLES, seed) for seed in range(n_seeds)]
    for level in (0.05, 0.025, 0.003):
        # The items are the first ones whose p by the first seed's resamples is within a tenth of the level.
        for items in range(10_000):
            p = p_values(world.draw(np.random.default_rng(items), weights[0]))["t"]
            if abs(p - level) < 0.1 * level:
                break
        drawn = [p_values(world.draw(np.random.default_rng(items), each)) for each in weights]
        for test in ("t", "counted"):
            p_of_seeds = np.array([p[test] for p in drawn])
            ends = np.quantile(p_of_seeds, [0.025, 0.975])
            yield f"{test} | {p_of_seeds.mean():.4f} | {p_of_seeds.std():.4f} | {ends[0]:.4f} to {ends[1]:.4f}"


@click.command()
@click.option("--sets", "n_sets", default=500, help="How many sets of items to draw in each world.")
@click.option("--only", default="", help="Only worlds whose name contains this.")
def main(n_sets: int, only: str) -> None:
    """Print the tables."""
    print(f"claims at {100 * LEVEL:g} %, and coverage of 95 % intervals, in % of {n_sets} sets\n")
    header = ["world", "n", *TESTS, "interval", "percentile", "centred"]
    print("| " + " | ".join(header) + " |\n" + "|---" * len(header) + "|")
    for world in worlds():
        if only in world.name:
            print(f"| {row(world, n_sets)} |", flush=True)
    print("\np of one set of items over 200 seeds\n")
    print("| test | mean p | standard deviation | middle 95 % |\n|---|---|---|---|")
    for line in seeds():
        print(f"| {line} |", flush=True)


if __name__ == "__main__":
    main()
