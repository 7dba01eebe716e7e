"""`grid`: every combination of the axes' values, in order; the paper's method."""

from __future__ import annotations

from collections.abc import Mapping

from mergekit_calib.recipe import Axis
from mergekit_calib.search.strategy import StrategyKind
from mergekit_calib.search.study import Proposal, Study


class Grid:
    def ask(self, study: Study) -> Proposal | None:
        left = next(study.unexplored(), None)
        return None if left is None else study.start(left)


def _fits(axes: Mapping[str, Axis]) -> str | None:
    ranges = [name for name, axis in axes.items() if axis.values is None]
    if not ranges:
        return None
    return f"{ranges[0]} is a range without values: give it start, stop and step, or choose another strategy"


GRID = StrategyKind(lambda options: Grid(), needs_budget=False, fits=_fits)
