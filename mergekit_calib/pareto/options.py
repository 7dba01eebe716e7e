"""Checks of what selection rules are given, so that a mistake shows before anything expensive starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mergekit_calib.errors import near_names


def objective(value: Any, objectives: Sequence[str]) -> list[str]:
    """The name of an objective."""
    if isinstance(value, str) and value in objectives:
        return []
    return [f"{value!r} is not an objective{near_names(str(value), objectives)}; there are {', '.join(objectives)}"]


def bounds(value: Any, objectives: Sequence[str]) -> list[str]:
    """`{objective: {min: number, max: number}}`, one or both."""
    problems = _of_objectives(value, objectives, "{min: …, max: …}")
    for name, bound in value.items() if isinstance(value, dict) else ():
        if not isinstance(bound, dict) or not bound:
            problems.append(f"{name}: expected {{min: …}}, {{max: …}} or both; found {bound!r}")
            continue
        for side in set(bound) - {"min", "max"}:
            problems.append(f"{name}: a bound is min or max; found {side!r}")
        found = [problem for side in ("min", "max") if side in bound for problem in number(bound[side])]
        problems += [f"{name}: {problem}" for problem in found]
        if not found and "min" in bound and "max" in bound and bound["min"] > bound["max"]:
            problems.append(f"{name}: min {bound['min']} is above max {bound['max']}")
    return problems


def values(value: Any, objectives: Sequence[str]) -> list[str]:
    """`{objective: number}`."""
    problems = _of_objectives(value, objectives, "a number")
    given = value if isinstance(value, dict) else {}
    return problems + [f"{name}: {problem}" for name, v in given.items() for problem in number(v)]


def weights(value: Any, objectives: Sequence[str]) -> list[str]:
    """`{objective: number}`, none below 0 and not all 0; objectives without one have 1."""
    if problems := values(value, objectives):
        return problems
    problems = [f"{name}: a weight of {weight} is below 0" for name, weight in value.items() if weight < 0]
    if not any(value.get(name, 1) for name in objectives):
        problems.append("every weight is 0; at least one must be above")
    return problems


def number(value: Any) -> list[str]:
    """A finite number."""
    if isinstance(value, str):
        try:
            return [f"{value!r} is text in YAML; write {float(value)}"]
        except ValueError:
            return [f"{value!r} is not a number"]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return [f"{value!r} is not a number"]
    return [] if math.isfinite(value) else [f"{value!r} is not finite"]


def _of_objectives(value: Any, objectives: Sequence[str], each: str) -> list[str]:
    if not isinstance(value, dict) or not value:
        return [f"expected a mapping of objectives to {each}; found {value!r}"]
    return [problem for name in value for problem in objective(name, objectives)]
