"""Clauses about paired differences: in which objectives a model is better, worse, or not significantly different."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mergekit_calib.report.text import formatting
from mergekit_calib.results.findings import Difference, Objective

Outcome = Literal["better", "worse", "not significant"]


def excludes_zero(difference: Difference) -> bool:
    """Return whether a difference has an interval that does not contain 0."""
    return difference.low is not None and difference.high is not None and not difference.low <= 0 <= difference.high


def outcome(objective: Objective, difference: Difference) -> Outcome:
    """Return `better` or `worse`; `not significant` if the interval contains 0 or there is none."""
    if not excludes_zero(difference) or difference.low is None:
        return "not significant"
    return "better" if (difference.low > 0) == (objective.direction == "maximize") else "worse"


def half_widths(objectives: Sequence[Objective], differences: Mapping[str, Difference]) -> float:
    """Return how far two models are apart: the sum of |difference| / half the width of its interval, over objectives.

    Args:
        objectives: the objectives to sum over.
        differences: objective name → paired difference; those without an interval of positive width are left out.
    """
    total = 0.0
    for objective in objectives:
        d = differences.get(objective.name)
        if d is not None and d.value is not None and d.low is not None and d.high is not None and d.high > d.low:
            total += abs(d.value) / ((d.high - d.low) / 2)
    return total


def negated(difference: Difference) -> Difference:
    """Return the difference of the two models the other way round, without a p-value."""
    value, low, high = (None if x is None else -x for x in (difference.value, difference.high, difference.low))
    return Difference(value=value, low=low, high=high, n=difference.n)


def signed_difference(difference: Difference) -> str:
    """Return a difference as `+0.027 [0.015, 0.039]`."""
    return formatting.with_interval(difference, signed=True)


@dataclass(frozen=True)
class Outcomes:
    """Objectives sorted by the outcome of a comparison, each as a phrase: `accuracy (+0.027 [0.015, 0.039])`.

    Attributes:
        better: the objectives in which the compared model is significantly better.
        worse: those in which it is significantly worse.
        not_significant: those without a significant difference.
    """

    better: tuple[str, ...]
    worse: tuple[str, ...]
    not_significant: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.better or self.worse or self.not_significant)

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
        return "; ".join([*clauses, self.not_significant_clause()] if self.not_significant else clauses)

    def not_significant_clause(self) -> str:
        """Return `no significant difference in NLL (…)`; at least one objective must have none."""
        return f"no significant difference in {formatting.listed(self.not_significant)}"


def sort_outcomes(objectives: Sequence[Objective], differences: Mapping[str, Difference]) -> Outcomes:
    """Sort objectives by what their paired differences show.

    Args:
        objectives: in the order in which they are to be named.
        differences: objective name → paired difference; objectives without one are left out.
    """
    phrases: dict[Outcome, list[str]] = {"better": [], "worse": [], "not significant": []}
    for objective in objectives:
        difference = differences.get(objective.name)
        if difference is not None and difference.value is not None:
            phrase = f"{formatting.metric_name(objective)} ({signed_difference(difference)})"
            phrases[outcome(objective, difference)].append(phrase)
    return Outcomes(
        better=tuple(phrases["better"]),
        worse=tuple(phrases["worse"]),
        not_significant=tuple(phrases["not significant"]),
    )
