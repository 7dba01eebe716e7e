"""One-sided tests that a paired difference is above 0: by the signs of items' differences, or by the bootstrap."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, stdtr

from mergekit_calib.metrics.statistic import FloatArray

ROUNDING = 1e-12
"""The floating-point error of a mean or of an item's number, relative to the largest such number."""

MOST_SUMS = 1 << 12
"""The largest number of sums of one half of the items that are listed, unless all its differences are alike."""


MOST_MULTIPLES = 1000
"""The largest number of different magnitudes for which a common divisor is looked for."""


def sign_flip_p_value(differences: ArrayLike) -> float:
    """Return the one-sided p of a mean difference above 0, by the test of random signs (Fisher 1935).

    If two models do not differ, each item's difference is as likely to have the other sign. So p is the probability,
    over all 2^n choices of signs, that the sum of the differences is at least the observed one; nothing is drawn at
    random. Of accuracy it is the exact form of McNemar's test. k items that are all in favour give 2^-k.

    If the sums are few (differences of few magnitudes, as those of accuracy; or few of them), they are listed. Else p
    is an integral of the characteristic function of the sum, Π cos(t d), with an error of up to 3e-5 for 25 to 30
    differences, and far less for more. If differences have several magnitudes that are no multiples of one number, and
    many differences have each, the error is up to half the probability of a single sum.

    Simulated (500 sets of items each), a nominal 5 % test makes a false claim of a gain in accuracy in 2 to 3 % of
    sets, with 4 to 60 discordant items expected among 50 to 500; the bootstrap's share of replicates in 3 to 7 %. It
    detects that 80 % of 12 discordant items are in favour in 57 to 61 % of sets (bootstrap: 69 to 71 %). Claims of a
    gain in the Brier score and NLL are false in 3 to 7 % where models differ symmetrically. Where differences are
    skewed (2 units), as between a calibrated and an overconfident model, a mean near 0 is claimed too often on one side
    and too seldom on the other, as by the bootstrap and by every test of a mean: 2 to 11 % at n = 50, 3 to 8 % at 150,
    4 to 6 % at 500.

    Args:
        differences: (n,) one for each item.

    Returns:
        Above 0, at most 1; 1 if no difference is other than 0, or one is NaN or infinite.
    """
    given = np.asarray(differences, dtype=np.float64)
    if not np.isfinite(given).all() or not (largest := np.abs(given).max(initial=0.0)):
        return 1.0
    scaled = given / largest
    magnitudes = np.abs(scaled[scaled != 0.0])
    observed, tolerance = float(scaled.sum()), ROUNDING * len(magnitudes)
    ascending = np.sort(magnitudes)
    first = np.flatnonzero(np.diff(ascending, prepend=-1.0) > tolerance)
    different, counts = ascending[first], np.diff(first, append=len(ascending))
    p = _p_of_listed_sums(different, counts, observed - tolerance)
    if p is None:
        # Sums of multiples of one number are twice that number apart; half way between two there is no rounding error.
        p = _p_by_inversion(magnitudes, observed - _common_divisor(different))
    # Of 2^n choices of signs, at least the observed one reaches the sum.
    return float(min(max(p, 0.5 ** len(magnitudes), np.finfo(np.float64).tiny), 1.0))


def bootstrap_p_value(replicates: ArrayLike, observed: float) -> float:
    """Return the one-sided p of a difference above 0, from the standard deviation of its replicates.

    p is the tail of Student's t distribution with n_resamples − 1 degrees of freedom above observed / standard
    deviation: the probability that one more replicate, centred at 0, would be at least the observed difference, if
    replicates are normal.

    Why centred: a resample repeats items, and so has a larger ECE than its sample, the more so the better calibrated
    the model. The percentile p, #(replicate ≤ 0), counts that shift as evidence; the basic one, #(replicate ≥ 2 ×
    observed), takes it off twice. Simulated (ECE of 15 bins, 1,000 resamples, models correlated by item, n = 150, 500
    and 1500, 500 sets of items each), a nominal 5 % test of a gain in ECE makes a false claim in 1 to 7 % of sets (this
    one), 0 to 6 % (percentile) and 5 to 8 % (basic), over seven nulls of equal ECE with like and unlike accuracy and
    sharpness. It detects a true gain, from ECE .05 to .02 at n = 500, in 19, 7 and 28 % of sets. The level is
    exceeded for two perfectly calibrated models of unlike accuracy, whose ECE has different biases at any n: in 7 to
    9, 3 to 6 and 9 to 13 % of sets for .75 against .84, and in 21 to 25, 32 to 52 and 16 to 17 % for .75 against .90.

    Why by the standard deviation: the share of centred replicates that reach the observed difference makes as many
    claims, to within 2 % of sets, but varies more with the seed. Over 200 seeds of 1,000 resamples, p has a standard
    deviation of 0.004 near 0.05, 0.0025 near 0.025 and 0.0004 near 0.003 (share: 0.006, 0.004 and 0.0014), and it can
    be below 1/(1 + n_resamples). To be surer near a level, take more resamples: the deviation falls with their root.

    Args:
        replicates: (n_resamples,) paired differences on resamples.
        observed: the difference on the items themselves.

    Returns:
        From 0 to 1; 1 if a number is NaN or infinite, and if the difference and its replicates do not differ from 0.
    """
    drawn = np.asarray(replicates, dtype=np.float64)
    if not (np.isfinite(observed) and np.isfinite(drawn).all()):
        return 1.0
    spread = float(np.std(drawn, ddof=1)) if len(drawn) > 1 else 0.0
    if spread <= ROUNDING:
        # A difference that is the same on every resample: the share of replicates that reach it is all there is.
        return 1.0 if observed <= ROUNDING else 1.0 / (1.0 + len(drawn))
    return float(stdtr(len(drawn) - 1, -observed / spread))


def _p_of_listed_sums(magnitudes: FloatArray, counts: NDArray[np.intp], least: float) -> float | None:
    """Return the probability that the signed sum is at least `least`, from all sums; None if there are too many.

    The sums of two halves are listed (Horowitz and Sahni 1974), and those of all are pairs of them.
    """
    most = max(MOST_SUMS, int(counts.max()) + 1)
    halves: list[list[int]] = [[], []]
    sizes = [1, 1]
    for group in np.argsort(counts)[::-1]:
        smaller = int(sizes[1] < sizes[0])
        sizes[smaller] *= int(counts[group]) + 1
        halves[smaller].append(int(group))
        if sizes[smaller] > most:
            return None
    (sums, probabilities), (others, their_probabilities) = (
        _signed_sums(magnitudes[half], counts[half]) for half in halves
    )
    order = np.argsort(others)
    reaching = np.append(np.cumsum(their_probabilities[order][::-1])[::-1], 0.0)
    return float(probabilities @ reaching[np.searchsorted(others[order], least - sums)])


def _signed_sums(magnitudes: FloatArray, counts: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
    """Return the sums of `counts` items of each magnitude with random signs, and their probabilities."""
    sums, probabilities = np.zeros(1), np.ones(1)
    for magnitude, count in zip(magnitudes, counts, strict=True):
        n_positive = np.arange(count + 1)
        sums = np.add.outer(sums, magnitude * (2 * n_positive - count)).ravel()
        logs = gammaln(count + 1) - gammaln(n_positive + 1) - gammaln(count - n_positive + 1)
        probabilities = np.multiply.outer(probabilities, np.exp(logs - count * np.log(2.0))).ravel()
    return sums, probabilities


def _common_divisor(magnitudes: FloatArray) -> float:
    """Return the number that all magnitudes are multiples of; 0 if there is none of at least a thousandth of 1."""
    divisor = 0.0
    for magnitude in magnitudes if len(magnitudes) <= MOST_MULTIPLES else ():
        larger, smaller = float(magnitude), divisor
        while smaller > 1e-9:
            larger, smaller = smaller, abs(math.remainder(larger, smaller))
        divisor = larger
    return divisor if divisor >= 1e-3 else 0.0


def _p_by_inversion(magnitudes: FloatArray, observed: float) -> float:
    """Return the probability that the signed sum reaches `observed`, by inversion (Gil-Pelaez 1951).

    P(S ≥ s) = 1/2 − 1/π ∫ sin(ts)/t Π cos(t d) dt over t > 0. The midpoint rule with a step of 2π/period is exact but
    for sums further than half a period from s, which are less likely than 1e-17 (Hoeffding 1963).
    """
    spread = float(np.sqrt(magnitudes @ magnitudes))
    z = observed / spread
    if abs(z) > 8.0:
        tail = float(np.exp(-0.5 * z * z))  # Hoeffding's bound: at most 1e-14
        return tail if z > 0 else 1.0 - tail
    step = np.pi / ((abs(z) + 9.0) * spread)
    integral = 0.0
    for start in range(0, 4096, 32):
        t = (start + 0.5 + np.arange(32)) * step
        characteristic = np.cos(t[:, None] * magnitudes).prod(axis=1)
        integral += float((np.sin(t * observed) / t) @ characteristic) * step
        if np.abs(characteristic).max() < 1e-15:
            break
    return 0.5 - integral / np.pi
