"""Types of a rule's options: names of objectives and of scores, and numbers for them.

The names are checked against `objectives` and `scores` in pydantic's validation context; without a context, any name is
valid.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator
from typing_extensions import Self

from mergekit_calib.errors import near_names


def _is_objective(name: str, info: ValidationInfo) -> str:
    objectives = (info.context or {}).get("objectives")
    if objectives is not None and name not in objectives:
        raise ValueError(
            f"{name!r} is not an objective{near_names(name, objectives)}; there are {', '.join(objectives)}"
        )
    return name


def _is_score(name: str, info: ValidationInfo) -> str:
    context = info.context or {}
    if "objectives" not in context:
        return name
    known = list(dict.fromkeys([*context.get("scores", ()), *context["objectives"]]))
    if name not in known:
        raise ValueError(
            f"{name!r} is not a score or an objective{near_names(name, known)}; there are {', '.join(known)}"
        )
    return name


def _is_number(value: Any) -> Any:
    if isinstance(value, str) and (number := _read_number(value)) is not None:
        raise ValueError(f"{value!r} is text in YAML; write {number}")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{value!r} is not a number")
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not finite")
    return value


def _read_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


ObjectiveName = Annotated[str, AfterValidator(_is_objective)]
"""The name of one of the sweep's objectives."""

ScoreName = Annotated[str, AfterValidator(_is_score)]
"""The name of a metric in `Candidates.scores`, or of one of the sweep's objectives."""

FiniteNumber = Annotated[float, BeforeValidator(_is_number)]
"""A finite number; text and booleans are refused."""

PerObjective = dict[ObjectiveName, FiniteNumber]
"""`{objective: number}`."""


class Bound(BaseModel):
    """`{min: number, max: number}`, one or both.

    Attributes:
        min: the least value allowed; None for no limit.
        max: the largest value allowed; None for no limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    min: FiniteNumber | None = Field(default=None)
    max: FiniteNumber | None = Field(default=None)

    @model_validator(mode="before")
    @classmethod
    def _has_no_other_key(cls, given: Any) -> Any:
        others = [key for key in given if key not in ("min", "max")] if isinstance(given, dict) else []
        if others:
            raise ValueError(f"a bound is min, max or both; found {', '.join(map(repr, others))}")
        return given

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self

    def excess(self, value: float) -> float:
        """Return how far `value` is outside the bound; 0 inside."""
        below = -math.inf if self.min is None else self.min - value
        above = -math.inf if self.max is None else value - self.max
        return max(below, above, 0.0)

    def __str__(self) -> str:
        parts = [("at least", self.min), ("at most", self.max)]
        return " and ".join(f"{words} {limit:g}" for words, limit in parts if limit is not None)
