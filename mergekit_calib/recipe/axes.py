"""The axes of a sweep: the numbers or names in a recipe that it varies, as the YAML gives them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from mergekit_calib.errors import shown

Number = int | float
Value = int | float | str
Setting = dict[str, Value]  # axis → its value

DIGITS = 12
"""Significant digits that distinguish the values of an axis; the ids of points have as many."""

_NAME = re.compile(r"[A-Za-z_]\w*")
_LONGEST_NAME = 64  # of a name on an axis; it is part of a point's id
_MAX_VALUES = 100_000  # of one axis
_GREATEST = 1e100  # of an axis's numbers, so that arithmetic on them stays finite
_RANGE_KEYS = {"start", "stop", "step", "min", "max", "values"}


class Axis(BaseModel):
    """One axis of a sweep.

    Attributes:
        values: the values that it can take, in order and each once; None if it can take any number of a range.
        low, high: the ends of the range; None if it has values.
        kind_options: what the YAML gives besides the values, as `{blocks: 6}`, for an axis that stands for several;
            the options of an `AxisKind`.
    """

    model_config = ConfigDict(frozen=True)

    values: list[Value] | None = None
    low: float | None = None
    high: float | None = None
    kind_options: dict[str, Any] = {}

    @property
    def numbers(self) -> list[Number]:
        """Its values that are numbers, or the two ends of its range."""
        if self.values is None:
            assert self.low is not None
            assert self.high is not None
            return [self.low, self.high]
        return [v for v in self.values if not isinstance(v, str)]

    @property
    def levels(self) -> list[Value]:
        """Its values, or the two ends of its range."""
        return list(self.numbers) if self.values is None else self.values

    def holds(self, value: Value) -> bool:
        """Return whether a point can have `value` on this axis."""
        if self.values is not None:
            return value in self.values
        return not isinstance(value, str) and self.numbers[0] <= value <= self.numbers[1]

    def place(self, value: Value) -> Value:
        """Return the value of this axis that is nearest to a proposed value.

        On an axis with listed values that is the nearest of them. In a range it is the proposed value, rounded to a
        thousandth of the range's width or finer, because more digits would only make the names of points long.
        """
        if isinstance(value, str):
            return value
        if self.values is not None:
            # What a sampler computes from start and step can differ from the listed value in the last bit.
            return min(self.values, key=lambda listed: math.inf if isinstance(listed, str) else abs(listed - value))
        low, high = self.numbers
        return min(max(round(value, 3 - math.floor(math.log10(high - low))), low), high)

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> Any:
        """Serialize to what the YAML would say. The names of studies depend on this form."""
        own = {"min": self.low, "max": self.high} if self.values is None else {"values": self.values}
        return {**own, **self.kind_options} if self.kind_options or self.values is None else self.values


def read_axis(given: Any) -> Axis:
    """Read an axis from its value in the YAML.

    Args:
        given: a list, a single value, `{start, stop, step}` with both ends included, `{min, max}`, or `{values}`. Other
            keys of a mapping are options of an axis kind.

    Raises:
        ValueError: it is empty, mixes numbers with names, has a number that is not finite, or is not a range.
    """
    if isinstance(given, Axis):
        return given
    if not isinstance(given, dict):
        return Axis(values=_listed(given))
    kind_options = {key: value for key, value in given.items() if key not in _RANGE_KEYS}
    own = {key: value for key, value in given.items() if key in _RANGE_KEYS}
    keys = set(own)
    if keys == {"start", "stop", "step"}:
        return Axis(values=_stepped(**own), kind_options=kind_options)
    if keys == {"min", "max"}:
        low, high = (_number(own[key]) for key in ("min", "max"))
        if not low < high:
            raise ValueError(f"min {low} is not below max {high}")
        return Axis(low=float(low), high=float(high), kind_options=kind_options)
    if keys == {"values"}:
        return Axis(values=_listed(own["values"]), kind_options=kind_options)
    if not own and kind_options:
        raise ValueError(f"{', '.join(kind_options)} needs the axis's values too: start, stop and step, or min and max")
    raise ValueError("a range needs start, stop and step, or min and max")


def grid_size(axes: Mapping[str, Axis]) -> float:
    """Return how many combinations of values the axes have; infinity if one is a range."""
    return math.prod(math.inf if axis.values is None else len(axis.values) for axis in axes.values())


def _stepped(start: Any, stop: Any, step: Any) -> list[Value]:
    start, stop, step = (_number(value) for value in (start, stop, step))
    if step == 0 or (stop - start) * step < 0:
        raise ValueError(f"steps of {step} never lead from {start} to {stop}")
    ratio = (stop - start) / step  # infinite, if the step is small enough
    count = math.floor(ratio + 1e-9) + 1 if ratio < 1e15 else math.inf
    if count > _MAX_VALUES:
        problem = f"steps of {step} from {start} to {stop} are {count:,} values"
        raise ValueError(f"{problem}; take larger steps, or give min and max and a strategy that draws from a range")
    # Rounding keeps 0.1 * 3 from becoming 0.30000000000000004 in every recipe and file name.
    values = _distinct(
        start + i * step if isinstance(start, int) and isinstance(step, int) else round(start + i * step, 10)
        for i in range(int(count))
    )
    if len(values) < count:
        raise ValueError(f"steps of {step} are too small: only {len(values):,} of {count:,} values differ")
    return values


def _listed(given: Any) -> list[Value]:
    values: Sequence[Any] = given if isinstance(given, list) else [given]
    if not values:
        raise ValueError("is empty: give a list of numbers, or {start, stop, step}")
    named = [isinstance(value, str) and _NAME.fullmatch(value) is not None for value in values]
    if any(named) and not all(named):
        raise ValueError("numbers and names cannot be mixed on one axis")
    if too_long := [value for value in values if isinstance(value, str) and len(value) > _LONGEST_NAME]:
        raise ValueError(f"{shown(too_long[0], 40)} is too long a name")
    return list(dict.fromkeys(values)) if all(named) else _distinct(_number(value) for value in values)


def _distinct(numbers: Iterable[Number]) -> list[Value]:
    """Return the numbers in order, without those that agree with an earlier one in `DIGITS` digits."""
    first: dict[str, Value] = {}
    for number in numbers:
        first.setdefault(f"{number:.{DIGITS}g}", number)
    return list(first.values())


def _number(value: Any) -> Number:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        hint = f"; {value} is the number, without quotes" if _is_quoted_number(value) else ""
        raise ValueError(f"{shown(value)} is not a number{hint}")
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not finite")
    if abs(value) > _GREATEST:
        raise ValueError(f"{shown(value)} is beyond {_GREATEST:g}, the greatest number on an axis")
    return value


def _is_quoted_number(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?", value) is not None
