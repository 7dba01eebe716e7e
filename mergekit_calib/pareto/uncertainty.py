"""The uncertainty of a frontier over resampled items: probabilities of points, hypervolume, attainment surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import ArrayLike

from mergekit_calib.pareto.dominance import Directions, FloatArray, gains, hypervolume, non_dominated


@dataclass(frozen=True, eq=False)
class AttainmentSurface:
    """The boundary of the values that are attained in a share of resamples.

    Attributes:
        share: the share of resamples whose frontier attains (is at least as good as) each of `points`.
        points: (n, n_objectives) the corners of the surface, from best to worst on the first objective.
    """

    share: float
    points: FloatArray


def frontier_probabilities(replicates: ArrayLike, directions: Directions) -> FloatArray:
    """Return the share of resamples in which each point is on the frontier: (n_points,).

    Args:
        replicates: (n_points, n_objectives, n_resamples) values on the same resamples; centred if a metric is biased.
        directions: (n_objectives,).
    """
    drawn = _checked(replicates)
    on_frontier = [non_dominated(drawn[:, :, r], directions) for r in range(drawn.shape[2])]
    shares: FloatArray = np.mean(on_frontier, axis=0, dtype=np.float64)
    return shares


def resampled_hypervolume(replicates: ArrayLike, directions: Directions, reference: ArrayLike) -> FloatArray:
    """Return the hypervolume of each resample, all from one reference point: (n_resamples,).

    It is biased upwards, as the best of several noisy values is: its mean is above the hypervolume of the true values.

    Args:
        replicates: (n_points, n_objectives, n_resamples) as in `frontier_probabilities`.
        directions: (n_objectives,).
        reference: (n_objectives,) as in `hypervolume`.
    """
    drawn = _checked(replicates)
    return np.array([hypervolume(drawn[:, :, r], directions, reference) for r in range(drawn.shape[2])])


def attainment_surfaces(
    replicates: ArrayLike, directions: Directions, shares: Sequence[float] = (0.025, 0.5, 0.975)
) -> list[AttainmentSurface]:
    """Return quantiles of the frontier over resamples (Fonseca et al. 2011; by moocore's `eaf`).

    The surface that 97.5 % of resamples attain lies inside the one that 2.5 % attain. At each single place, the
    frontier lies between the two in 95 % of resamples. Only for 2 objectives, else empty: for 3, the time and the
    number of corners grow with the square of the number of resamples.

    Args:
        replicates: (n_points, n_objectives, n_resamples) as in `frontier_probabilities`.
        directions: (n_objectives,).
        shares: each above 0, at most 1.
    """
    drawn = _checked(replicates)
    n_points, n_objectives = drawn.shape[:2]
    if n_objectives != 2:
        return []
    sign = gains(np.ones(n_objectives), directions)
    losses = -gains(np.moveaxis(drawn, 2, 0), directions).reshape(-1, n_objectives)
    sets = np.repeat(np.arange(len(losses) // n_points), n_points)
    usable = np.isfinite(losses).all(axis=1)
    surfaces = []
    for share in shares if usable.any() else ():
        corners = moocore.eaf(losses[usable], sets[usable], percentiles=[100.0 * share])[:, :n_objectives]
        # + 0.0 turns a negative zero into 0, which is printed without a sign.
        points = -corners[np.argsort(corners[:, 0], kind="stable")] * sign + 0.0
        surfaces.append(AttainmentSurface(share, points))
    return surfaces


def _checked(replicates: ArrayLike) -> FloatArray:
    drawn = np.asarray(replicates, dtype=np.float64)
    if drawn.ndim != 3 or 0 in drawn.shape:
        raise ValueError(
            f"replicates have shape {drawn.shape}; (n_points, n_objectives, n_resamples), at least 1 of each, is needed"
        )
    return drawn
