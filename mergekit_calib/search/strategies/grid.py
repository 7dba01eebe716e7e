"""The strategy `grid`: every combination of the axes' values, in order; the paper's method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from mergekit_calib.recipe import Axis
from mergekit_calib.search.strategy import Strategy, search_strategy
from mergekit_calib.search.study import Proposal, Study


@search_strategy("grid")
class Grid(Strategy):
    """Propose every combination of the axes' values, in order."""

    needs_budget: ClassVar[bool] = False
    treats_splits_alike: ClassVar[bool] = True

    @classmethod
    def fits(cls, axes: Mapping[str, Axis]) -> str | None:
        """Return a message that names an axis without a list of values; None if all axes have one."""
        ranges = [name for name, axis in axes.items() if axis.values is None]
        if not ranges:
            return None
        way_out = "leave out the strategy" if len(axes) == 1 else "choose another strategy"
        return f"{ranges[0]} is a range without values: give it start, stop and step, or {way_out}"

    def ask(self, study: Study) -> Proposal | None:
        """Return the first combination that was not proposed yet."""
        setting = next(study.unexplored(), None)
        return None if setting is None else study.start(setting)
