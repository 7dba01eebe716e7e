"""Dominance between points, by values and beyond chance, and the hypervolume that they dominate (by moocore)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

Direction = Literal["maximize", "minimize"]
Directions = Sequence[Direction]
FloatArray = NDArray[np.float64]

_Z_DOMINATED = float(ndtri(1.0 - 0.01 / 2.0))


def gains(values: ArrayLike, directions: Directions, axis: int = -1) -> FloatArray:
    """Return `values` with a sign such that more is better: those of minimised objectives are negated.

    Args:
        values: any shape whose `axis` runs over the objectives.
        directions: (n_objectives,) `maximize` or `minimize`.
        axis: the axis of `values` that runs over the objectives.

    Raises:
        ValueError: a direction is unknown, or their number is not that of the objectives.
    """
    array = np.asarray(values, dtype=np.float64)
    if unknown := [d for d in directions if d not in get_args(Direction)]:
        raise ValueError(f"direction {unknown[0]!r}; one of {', '.join(get_args(Direction))} is needed")
    if not array.ndim or array.shape[axis] != len(directions):
        raise ValueError(f"{len(directions)} directions for values of shape {array.shape}")
    shape = [1] * array.ndim
    shape[axis] = len(directions)
    turned: FloatArray = array * np.reshape([1.0 if d == "maximize" else -1.0 for d in directions], shape)
    return turned


def non_dominated(values: ArrayLike, directions: Directions) -> NDArray[np.bool_]:
    """Return which points are on the frontier: no other point is at least as good on every objective and better on one.

    Points with the same values do not dominate each other, so all copies of a frontier point are on it. A point with
    a NaN is never on the frontier and dominates nothing.

    Args:
        values: (n_points, n_objectives); may be infinite.
        directions: (n_objectives,).

    Returns:
        (n_points,) mask.
    """
    losses = -_points(values, directions)
    defined = ~np.isnan(losses).any(axis=1)
    on_frontier = np.zeros(len(losses), dtype=bool)
    # Ranks, which have the same frontier: with infinite values of 3 objectives or more, moocore 0.3.2 crashes or errs.
    ranks = [np.unique(column, return_inverse=True)[1] for column in losses[defined].T]
    on_frontier[defined] = moocore.is_nondominated(np.stack(ranks, axis=1), keep_weakly=True)
    return on_frontier


def dominates(values: ArrayLike, standard_errors: ArrayLike, directions: Directions) -> NDArray[np.bool_]:
    """Return which points dominate which beyond chance.

    Point i dominates point j if it is at least as good in every objective, and better beyond chance in one: by a paired
    difference of more than 2.58 standard errors, which is a two-sided test at 1 %. The level is not corrected for the
    number of pairs. A point that is on the frontier is never dominated. This is the meaning of "dominated" everywhere
    but in racing, whose test is stricter since it looks many times.

    Args:
        values: (n_points, n_objectives).
        standard_errors: (n_points, n_points, n_objectives) of the paired differences; a difference with an error of
            NaN shows nothing.
        directions: (n_objectives,).

    Returns:
        (n_points, n_points) [i, j]: whether i dominates j.
    """
    better = gains(values, directions)
    differences = better[:, None, :] - better[None, :, :]
    with np.errstate(invalid="ignore"):
        beyond_chance = (differences > 0) & (differences > _Z_DOMINATED * np.asarray(standard_errors))
    return np.asarray((differences >= 0).all(axis=2) & beyond_chance.any(axis=2))


def hypervolume(values: ArrayLike, directions: Directions, reference: ArrayLike) -> float:
    """Return the volume between the frontier and a worse reference point (Zitzler and Thiele 1998).

    In the product of the objectives' units; infinite where a point better than the reference has an infinite value.
    Points with a NaN, and points not better than the reference on every objective, add nothing; no points give 0.

    Args:
        values: (n_points, n_objectives).
        directions: (n_objectives,).
        reference: (n_objectives,), finite.

    Raises:
        ValueError: the reference has another length, or is not finite.
    """
    losses = -_points(values, directions)
    bound = -gains(reference, directions)
    if bound.ndim != 1 or not np.isfinite(bound).all():
        raise ValueError(
            f"reference {reference!r}; one finite number for each of {len(directions)} objectives is needed"
        )
    inside = losses[(losses < bound).all(axis=1)]
    if not np.isfinite(inside).all():
        return float("inf")
    return float(moocore.hypervolume(inside, ref=bound)) if len(inside) else 0.0


def _points(values: ArrayLike, directions: Directions) -> FloatArray:
    turned = gains(values, directions)
    if turned.ndim != 2 or not turned.shape[1]:
        raise ValueError(f"values have shape {turned.shape}; (n_points, n_objectives) is needed")
    return turned
