"""The axes of a search as numbers between 0 and 1, for processes over them, and points of the space to compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mergekit_calib.recipe import Axis, Setting, Value

FloatArray = NDArray[np.float64]


def features(axes: Mapping[str, Axis], settings: Sequence[Mapping[str, Value]]) -> FloatArray:
    """Return settings as numbers: numbers scaled by the ends of their axis, names one-hot.

    Args:
        axes: name → axis.
        settings: axis → value; numbers may lie outside their axis.

    Returns:
        (n_settings, n_features); numbers of an axis are 0 to 1. Two names are at distance 1.
    """
    columns = []
    for name, axis in axes.items():
        values = [setting[name] for setting in settings]
        if has_names(axis):
            columns += [[np.sqrt(0.5) * (value == level) for value in values] for level in axis.levels]
        else:
            low, high = min(axis.numbers), max(axis.numbers)
            columns.append([(float(value) - low) / ((high - low) or 1.0) for value in values])
    table: FloatArray = np.array(columns, dtype=np.float64).reshape(len(columns), len(settings)).T
    return table


def has_names(axis: Axis) -> bool:
    """Return whether the values of an axis are names."""
    return axis.values is not None and len(axis.numbers) < len(axis.values)


def value_at(axis: Axis, share: float) -> Value:
    """Return the value at `share` of an axis, where 0 is its start and 1 its end."""
    if axis.values is None:
        low, high = axis.numbers
        return axis.place(low + share * (high - low))
    return axis.values[min(int(share * len(axis.values)), len(axis.values) - 1)]


def space_filling(axes: Mapping[str, Axis], n: int, seed: int) -> list[Setting]:
    """Return the first points of a scrambled Sobol' sequence; settings can repeat if the axes have few values.

    Args:
        axes: name → axis.
        n: how many, a power of 2.
        seed: the seed of the scrambling.
    """
    from scipy.stats import qmc  # here, because every sweep imports this module, and scipy.stats takes 0.2 s

    shares = qmc.Sobol(len(axes), seed=seed).random(n)
    return [
        {name: value_at(axis, float(u)) for (name, axis), u in zip(axes.items(), row, strict=True)} for row in shares
    ]


def neighbours(
    axes: Mapping[str, Axis], settings: Sequence[Setting], width: float, n: int, rng: np.random.Generator
) -> list[Setting]:
    """Return settings near given ones, which differ from them in some of the axes.

    A number moves by a normal step, to another listed number at least; a name is drawn anew.

    Args:
        axes: name → axis.
        settings: axis → value; none gives none.
        width: the standard deviation of a step, as a share of the axis.
        n: how many.
        rng: the random numbers.
    """
    near: list[Setting] = []
    for index in range(n if settings else 0):
        setting = dict(settings[index % len(settings)])
        moved = rng.random(len(axes)) < 0.5
        moved[rng.integers(len(axes))] = True
        for (name, axis), moves in zip(axes.items(), moved, strict=True):
            if moves:
                setting[name] = _moved(axis, setting[name], width, rng)
        near.append(setting)
    return near


def _moved(axis: Axis, value: Value, width: float, rng: np.random.Generator) -> Value:
    if axis.values is None:
        low, high = axis.numbers
        step = float(rng.normal(0.0, width * (high - low)))
        return axis.place(min(max(float(value) + step, low), high))
    if has_names(axis) or value not in axis.values:
        return axis.values[int(rng.integers(len(axis.values)))]
    step = float(rng.normal(0.0, width * len(axis.values)))
    index = axis.values.index(value) + int(np.sign(step) * np.ceil(abs(step)))
    return axis.values[min(max(index, 0), len(axis.values) - 1)]


def distinct(axes: Mapping[str, Axis], settings: Iterable[Setting]) -> list[Setting]:
    """Return the settings in order, each once."""
    return list({tuple(setting[name] for name in axes): setting for setting in settings}.values())
