"""Axes: what a sweep varies, as the YAML says it, and what an axis that stands for several is given and gives."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

Number = int | float
Value = int | float | str
Setting = dict[str, Value]  # axis → its value

DIGITS = 12
"""Significant digits that tell one value of an axis from another, as in the names of points."""

_NAME = re.compile(r"[A-Za-z_]\w*")
_MOST_VALUES = 100_000  # of one axis
_RANGE_KEYS = {"start", "stop", "step", "min", "max", "values"}


class Axis(BaseModel):
    """One named knob of a recipe.

    Attributes:
        values: what it may be, in order, without repeats; None for any number of a range.
        low, high: the range of an axis without values.
        kind: what an axis that stands for several says beside its values, as `{blocks: 6}`; see `AxisKind`.
    """

    model_config = ConfigDict(frozen=True)

    values: list[Value] | None = None
    low: float | None = None
    high: float | None = None
    kind: dict[str, Any] = {}

    @property
    def numbers(self) -> list[Number]:
        """Its values that are numbers, or the ends of its range."""
        if self.values is None:
            assert self.low is not None
            assert self.high is not None
            return [self.low, self.high]
        return [v for v in self.values if not isinstance(v, str)]

    @property
    def described(self) -> list[Value]:
        """Its values, or the two ends of its range."""
        return list(self.numbers) if self.values is None else self.values

    def holds(self, value: Value) -> bool:
        """Whether a point may have `value` here."""
        if self.values is not None:
            return value in self.values
        return not isinstance(value, str) and self.numbers[0] <= value <= self.numbers[1]

    def place(self, value: Value) -> Value:
        """A proposed value as it goes into recipes: without the last digits, which only make names long."""
        if isinstance(value, str):
            return value
        if self.values is not None:
            # What a sampler computed from start and step may differ in the last bit from the value in the list.
            return min(self.values, key=lambda mine: math.inf if isinstance(mine, str) else abs(mine - value))
        low, high = self.numbers
        return min(max(round(value, 3 - math.floor(math.log10(high - low))), low), high)

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> Any:
        own = {"min": self.low, "max": self.high} if self.values is None else {"values": self.values}
        return {**own, **self.kind} if self.kind or self.values is None else self.values


@dataclass(frozen=True)
class Layers:
    """What an axis kind may know of the models.

    Attributes:
        count: how many layers they have.
        within: a part of the names of the layers' tensors that no other tensor's name has; None if there is none.
    """

    count: int
    within: str | None


@dataclass(frozen=True)
class Expansion:
    """An axis that stands for several, as these and as what goes into recipes.

    Attributes:
        axes: the axes that the search varies instead.
        value: given `${…}` with any arithmetic in place of the axis's name, the structure that a recipe has there; its
            argument turns an expression on the names of `axes` into the placeholder.
    """

    axes: dict[str, Axis]
    value: Callable[[Callable[[str], str]], Any]


# The axis's name, the axis, and the models' layers → the axes it stands for. Raises ValueError for options that
# make no sense; the sentence is shown with the axis's key.
AxisKind = Callable[[str, Axis, Layers], Expansion]


def read_axis(name: str, given: Any) -> Axis:
    """An axis from YAML: a list, a single value, `{start, stop, step}` with both ends included, or `{min, max}`.

    In a mapping, `values` gives a list; keys that are none of these belong to a kind of axis.

    Raises:
        ValueError: empty, not finite, neither numbers nor names, or a range that never arrives.
    """
    if isinstance(given, Axis):
        return given
    if not isinstance(given, dict):
        return Axis(values=_listed(name, given))
    kind = {key: value for key, value in given.items() if key not in _RANGE_KEYS}
    own = {key: value for key, value in given.items() if key in _RANGE_KEYS}
    keys = set(own)
    if keys == {"start", "stop", "step"}:
        return Axis(values=_stepped(name, **own), kind=kind)
    if keys == {"min", "max"}:
        low, high = (_number(name, own[key]) for key in ("min", "max"))
        if not low < high:
            raise ValueError(f"axis {name}: min {low} is not below max {high}")
        return Axis(low=float(low), high=float(high), kind=kind)
    if keys == {"values"}:
        return Axis(values=_listed(name, own["values"]), kind=kind)
    if not own and kind:
        raise ValueError(f"axis {name}: add its values to {', '.join(kind)}: start, stop and step, or min and max")
    found = ", ".join(map(str, given)) or "nothing"
    raise ValueError(f"axis {name}: a range has start, stop and step, or min and max; found {found}")


def grid_size(axes: Mapping[str, Axis]) -> float:
    """How many combinations of values there are; infinity where an axis is a range."""
    return math.prod(math.inf if axis.values is None else len(axis.values) for axis in axes.values())


def _stepped(name: str, start: Any, stop: Any, step: Any) -> list[Value]:
    start, stop, step = (_number(name, value) for value in (start, stop, step))
    if step == 0 or (stop - start) * step < 0:
        raise ValueError(f"axis {name}: steps of {step} never lead from {start} to {stop}")
    count = math.floor((stop - start) / step + 1e-9) + 1
    if count > _MOST_VALUES:
        found = f"axis {name}: steps of {step} from {start} to {stop} are {count:,} values"
        raise ValueError(f"{found}; take larger steps, or give min and max with a strategy that draws from them")
    # Rounding keeps 0.1 * 3 from becoming 0.30000000000000004 in every recipe and file name.
    return _distinct(
        start + i * step if isinstance(start, int) and isinstance(step, int) else round(start + i * step, 10)
        for i in range(count)
    )


def _listed(name: str, given: Any) -> list[Value]:
    values: Sequence[Any] = given if isinstance(given, list) else [given]
    if not values:
        raise ValueError(f"axis {name} is empty: give a list of numbers, or {{start, stop, step}}")
    named = [isinstance(value, str) and _NAME.fullmatch(value) is not None for value in values]
    if any(named) and not all(named):
        raise ValueError(f"axis {name}: numbers and names cannot be mixed on one axis; found {given!r}")
    return list(dict.fromkeys(values)) if all(named) else _distinct(_number(name, value) for value in values)


def _distinct(numbers: Iterable[Number]) -> list[Value]:
    """The first of those that agree in `DIGITS` digits, in order."""
    first: dict[str, Value] = {}
    for number in numbers:
        first.setdefault(f"{number:.{DIGITS}g}", number)
    return list(first.values())


def _number(name: str, value: Any) -> Number:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"axis {name}: {value!r} is not a number")
    if not math.isfinite(value):
        raise ValueError(f"axis {name}: {value!r} is not finite")
    return value
