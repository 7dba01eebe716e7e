"""Two models' answers to the same items put together: averaged probabilities, blended log-probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable


def average_probabilities(first: Tables, second: Tables) -> Tables:
    """Return the mean of two models' choice probabilities, as scores; tasks without choices keep the first's."""

    def mean(one: ItemTable, other: ItemTable) -> NDArray[np.float64]:
        with np.errstate(divide="ignore"):
            scores: NDArray[np.float64] = np.log((one.probabilities + other.probabilities) / 2.0)
        return scores

    return _combined(first, second, mean)


def blend_log_probabilities(first: Tables, second: Tables, at: float) -> Tables | None:
    """Return the blend (1 − λ) ll_first + λ ll_second of two models' log-likelihoods; λ above 1 extrapolates.

    Decoding-time realignment (Liu et al. 2024, arXiv 2402.02992) mixes the models' distributions of the next token in
    this way, p ∝ p_first^(1 − λ) p_second^λ. If every choice is one token, the blend's probabilities of the choices are
    exactly those of its mixture. For longer choices it is an approximation: the mixture is normalised once for each
    whole choice, not at each token.

    A choice that either model rules out (−inf) is ruled out for λ from 0 to 1, except at the ends, which are the
    models themselves.

    Args:
        first: a model's scores, which tasks without choices keep.
        second: another model's scores of the same items.
        at: λ, at least 0.

    Returns:
        The scores; None if there is no such blend: every choice of an item is ruled out, or λ is above 1 and the first
        model rules out a choice that the second does not.
    """

    def blended(one: ItemTable, other: ItemTable) -> NDArray[np.float64]:
        mine, theirs = one.log_likelihoods, other.log_likelihoods
        if at in (0.0, 1.0):
            return theirs if at else mine
        with np.errstate(invalid="ignore"):
            scores: NDArray[np.float64] = (1.0 - at) * mine + at * theirs
        return np.where(np.isneginf(mine) & np.isneginf(theirs), -np.inf, scores)

    tables = _combined(first, second, blended)
    every_score = [table.log_likelihoods for some in tables.values() for table in some if table.has_choices]
    usable = all((np.isfinite(s).any(axis=1) & ~np.isposinf(s).any(axis=1)).all() for s in every_score)
    return tables if usable else None


def _combined(first: Tables, second: Tables, scores: Callable[[ItemTable, ItemTable], NDArray[np.float64]]) -> Tables:
    def combine(one: ItemTable, other: ItemTable) -> ItemTable:
        return replace(one, log_likelihoods=scores(one, other)) if one.has_choices else one

    return {
        entry: [combine(one, other) for one, other in zip(some, second[entry], strict=True)]
        for entry, some in first.items()
    }
