"""Objectives along λ: trends past the aligned model (λ > 1), and the λ at which each objective is best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import metrics
from mergekit_calib.analysis import paired
from mergekit_calib.analysis.estimation import Results, estimate
from mergekit_calib.analysis.paired_difference import contributions_to_same_items
from mergekit_calib.metrics import BootstrapResult
from mergekit_calib.results.findings import Objective, Optimum, Trend

FEWEST_POINTS = 3

N_ERRORS = 4000
"""The number of random errors that the p-value of a trend is counted from."""


def trends(along: Mapping[float, Results], objectives: Sequence[Objective], level: float) -> list[Trend]:
    """Return each objective's trend along λ from 1 upwards; no trend if there are fewer than 3 points.

    Args:
        along: λ → results of the objectives on the held-out split.
        objectives: the objectives.
        level: the confidence level of intervals.
    """
    lambdas = sorted(lam for lam in along if lam >= 1.0)
    if len(lambdas) < FEWEST_POINTS:
        return []
    trends_of_objectives = []
    for objective in objectives:
        results = [along[lam][objective.name] for lam in lambdas]
        values = np.array([result.value for result in results])
        drawn = paired.comparable_replicates([along[lam] for lam in lambdas], [objective])[:, 0]
        tau, taus = float(metrics.kendall_tau(lambdas, values)), metrics.kendall_tau(lambdas, drawn.T)
        if not (np.isfinite(values).all() and np.isfinite(drawn).all() and np.isfinite(tau)):
            continue
        low, high = metrics.interval(taus[np.isfinite(taus)], level)
        rising = tau >= 0
        trends_of_objectives.append(
            Trend(
                objective=objective.name,
                lambdas=lambdas,
                tau=estimate(tau, low, high, len(lambdas)),
                fitted=metrics.monotone_fit(values, rising).tolist(),
                p_monotone=metrics.monotone_p_value(values, values[:, None] + _errors(results), rising),
            )
        )
    return trends_of_objectives


def _errors(results: Sequence[BootstrapResult]) -> NDArray[np.float64]:
    """Return random errors of one objective's values, (n_points, N_ERRORS): normal, and the same ones in every call.

    Means over the same items have the covariance of the items' contributions, so that p-values of trends do not depend
    on the resamples; other statistics have the covariance of their replicates.
    """
    of_items = contributions_to_same_items(results)
    if of_items is None:
        covariance = np.cov([result.replicates for result in results])
    else:
        covariance = np.cov(of_items, ddof=0) / of_items.shape[1]
    means, rng = np.zeros(len(results)), np.random.default_rng(0)
    drawn: NDArray[np.float64] = rng.multivariate_normal(means, covariance, N_ERRORS, method="svd").T
    return drawn


def optima(along: Mapping[float, Results], objectives: Sequence[Objective], level: float) -> list[Optimum]:
    """Return the scored λ at which each objective is best, with its interval over resamples.

    Args:
        along: λ → results of the objectives on the held-out split; with fewer than 3 there is no optimum.
        objectives: the objectives.
        level: the confidence level of intervals.
    """
    lambdas = np.array(sorted(along))
    if len(lambdas) < FEWEST_POINTS:
        return []
    optima_of_objectives = []
    for objective in objectives:
        results = [along[lam] for lam in lambdas]
        sign = 1.0 if objective.direction == "maximize" else -1.0
        values, drawn = (f(results, [objective])[:, 0] for f in (paired.values, paired.comparable_replicates))
        if not (np.isfinite(values).all() and np.isfinite(drawn).all()):
            continue
        best = lambdas[(sign * drawn).argmax(axis=0)]
        # Without interpolation, so that the ends of the interval are values of λ that were scored.
        tails = ((1.0 - level) / 2.0, (1.0 + level) / 2.0)
        low, high = np.quantile(best, tails, method="inverted_cdf")
        at = lambdas[(sign * values).argmax()]
        optima_of_objectives.append(
            Optimum(objective=objective.name, axis="lambda", at=float(at), low=float(low), high=float(high))
        )
    return optima_of_objectives
