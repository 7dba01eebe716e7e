"""What a search strategy is: asked for the next point, given the points that are finished and running."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mergekit_calib.recipe import Axis
from mergekit_calib.search.study import Proposal, Study


class Strategy(Protocol):
    """Proposes points. What it knows of earlier ones it asks the study, so that any worker can go on at any time."""

    def ask(self, study: Study) -> Proposal | None:
        """The next point, from `study.start` or `study.sample`; None while there is nothing more to propose.

        It is asked again after each point that finishes, also on other workers; the search is over when it has
        nothing to propose and nothing is running.
        """


def any_axes(axes: Mapping[str, Axis]) -> str | None:
    """For strategies that take all axes there are."""
    return None


def whole_number(at_least: int) -> Callable[[Any], str | None]:
    """A check of an option."""

    def check(value: Any) -> str | None:
        good = isinstance(value, int) and not isinstance(value, bool) and value >= at_least
        return None if good else f"expected a whole number, at least {at_least}"

    return check


def positive(value: Any) -> str | None:
    """A check of an option."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    return None if good else "expected a number above 0"


@dataclass(frozen=True)
class StrategyKind:
    """A strategy as it is registered.

    Attributes:
        make: its options, already checked → the strategy.
        options: the options it takes: name → check of a given value: what is wrong with it, or None.
        needs_budget: whether it would go on for ever.
        fits: axes → why it cannot search them, or None.
    """

    make: Callable[[Mapping[str, Any]], Strategy]
    options: Mapping[str, Callable[[Any], str | None]] = field(default_factory=dict)
    needs_budget: bool = True
    fits: Callable[[Mapping[str, Axis]], str | None] = any_axes
