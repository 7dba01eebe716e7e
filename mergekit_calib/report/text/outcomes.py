"""Clauses about paired differences: in which objectives a model is better, worse, or not significantly different."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mergekit_calib.report.text import formatting
from mergekit_calib.results.findings import Difference, Objective

Outcome = Literal["better", "worse", "open"]


def excludes_zero(difference: Difference) -> bool:
    """Return whether a difference has an interval, and 0 lies outside it."""
    return difference.low is not None and difference.high is not None and not difference.low <= 0 <= difference.high


def outcome(objective: Objective, difference: Difference) -> Outcome:
    """Return `better` or `worse`, or `open` where the interval holds 0, whichever way the value points."""
    if not excludes_zero(difference) or difference.low is None:
        return "open"
    return "better" if (difference.low > 0) == (objective.direction == "maximize") else "worse"


def signed_difference(difference: Difference) -> str:
    """Return a difference as `+0.027 [0.015, 0.039]`."""
    return formatting.with_interval(difference, signed=True)


@dataclass(frozen=True)
class Outcomes:
    """Objectives sorted by the outcome of a comparison, each as a phrase: `accuracy (+0.027 [0.015, 0.039])`.

    Attributes:
        better: the objectives in which the compared model is significantly better.
        worse: those in which it is significantly worse.
        open: those without a significant difference.
        names: outcome → the names of its objectives alone.
    """

    better: tuple[str, ...]
    worse: tuple[str, ...]
    open: tuple[str, ...]
    names: Mapping[Outcome, tuple[str, ...]]

    def __bool__(self) -> bool:
        return bool(self.better or self.worse or self.open)

    def clause(self) -> str:
        """Return `better in accuracy (…) and worse in ECE (…); no significant difference in NLL (…)`.

        At least one objective must have been compared.
        """
        parts = [
            f"{word} in {formatting.listed(phrases)}"
            for word, phrases in (("better", self.better), ("worse", self.worse))
            if phrases
        ]
        clauses = [" and ".join(parts)] if parts else []
        return "; ".join([*clauses, self.open_clause()] if self.open else clauses)

    def open_clause(self) -> str:
        """Return `no significant difference in NLL (…)`; at least one objective must be open."""
        return f"no significant difference in {formatting.listed(self.open)}"


def sort_outcomes(objectives: Sequence[Objective], differences: Mapping[str, Difference]) -> Outcomes:
    """Sort objectives by what their paired differences show.

    Args:
        objectives: in the order in which they are to be named.
        differences: objective name → paired difference; objectives without one are left out.
    """
    phrases: dict[Outcome, list[str]] = {"better": [], "worse": [], "open": []}
    names: dict[Outcome, list[str]] = {"better": [], "worse": [], "open": []}
    for objective in objectives:
        difference = differences.get(objective.name)
        if difference is not None and difference.value is not None:
            result, name = outcome(objective, difference), formatting.metric_name(objective)
            phrases[result].append(f"{name} ({signed_difference(difference)})")
            names[result].append(name)
    return Outcomes(
        better=tuple(phrases["better"]),
        worse=tuple(phrases["worse"]),
        open=tuple(phrases["open"]),
        names={result: tuple(some) for result, some in names.items()},
    )
