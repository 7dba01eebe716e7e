"""Search strategies: the base class and its decorator.

A strategy is one module in `strategies/` with one class; its fields are the options that the YAML gives beside
`strategy:`:

    @search_strategy("evolve")
    class Evolve(Strategy):
        population: int = 12
        def ask(self, study): ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from mergekit_calib.recipe import Axis, Setting
from mergekit_calib.search.protocol import Interpolation
from mergekit_calib.search.study import Proposal, Study


class Strategy(BaseModel, ABC):
    """A way to choose the next point; its fields are the strategy's options.

    A strategy keeps nothing between two calls. It asks the study for the points so far, so that any worker can go on
    at any time.

    Attributes:
        name: what `search: {strategy: …}` names; set by `search_strategy`.
        needs_budget: whether the strategy never stops proposing points by itself, so that the recipe must set a budget.
        treats_splits_alike: whether both splits have the same part in which points are scored. If so, the point can be
            chosen on all items, and each split's choice measured on the other split.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]
    needs_budget: ClassVar[bool] = True
    treats_splits_alike: ClassVar[bool] = False

    @classmethod
    def fits(cls, axes: Mapping[str, Axis]) -> str | None:
        """Return why the strategy cannot search these axes; None if it can.

        Args:
            axes: name → axis.
        """
        return None

    def note(self, most_points: float) -> str | None:
        """Return what a reader should know about a search of so many points with this strategy; None, if nothing.

        Args:
            most_points: how many points the budget allows at most; infinity if it is limited by time alone.
        """
        return None

    def may_race(self, study: Study, setting: Setting) -> bool:
        """Return whether a race may stop the point at `setting`; by default, any point.

        Args:
            study: the points so far.
            setting: axis → value.
        """
        return True

    def interpolation(self, study: Study) -> Interpolation | None:
        """Return the points from which the strategy predicts all others; None, the default, if it predicts none.

        Args:
            study: the points so far.
        """
        return None

    def usual_points(self, axes: Mapping[str, Axis], n_parents: int) -> tuple[int, int | None, str] | None:
        """Return how many points the strategy proposes until it stops by itself; None, the default, if it never does.

        Args:
            axes: name → axis.
            n_parents: how many parents lie on the axes, so that they need not be proposed.

        Returns:
            The usual number, the greatest (None if nothing bounds it), and where they come from in a few words.
        """
        return None

    @abstractmethod
    def ask(self, study: Study) -> Proposal | None:
        """Return the next point, made by `study.start` or `study.sample`; None if there is no point to propose now.

        It is called again after each point that finishes, on any worker; if it returned None on one, the others do not
        call it until then. The search ends when it returns None and no point is running.

        Args:
            study: the points so far.
        """


STRATEGIES: dict[str, type[Strategy]] = {}
"""Name → registered strategy."""

_Kind = TypeVar("_Kind", bound=type[Strategy])


def search_strategy(name: str) -> Callable[[_Kind], _Kind]:
    """Return a decorator that registers a `Strategy` under a name.

    Args:
        name: what `search: {strategy: …}` names.
    """

    def register(strategy: _Kind) -> _Kind:
        strategy.name = name
        STRATEGIES[name] = strategy
        return strategy

    return register
