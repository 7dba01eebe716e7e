"""How many points a search scores, by its strategy and its budget."""

from __future__ import annotations

from mergekit_calib.results.cost import PointCount
from mergekit_calib.sweep.prepared import Prepared


def count_points(prepared: Prepared) -> PointCount:
    """Return how many points a sweep scores, parents included; minutes of the budget are not counted here.

    Args:
        prepared: the sweep.
    """
    sweep, search = prepared.sweep, prepared.sweep.calibration.search
    parents = prepared.parents
    on_axes = sum(p.axes.keys() == sweep.axes.keys() for p in parents)
    usual: int | None
    most: int | None
    if prepared.strategy.name == "grid":
        usual, most, basis = sweep.n_in_grid, sweep.n_in_grid, "grid: every combination of the axes' values"
    else:
        found = prepared.strategy.usual_points(sweep.axes, on_axes)
        usual, most, basis = found or (None, None, f"{prepared.strategy.name}: as many as the budget allows")
    budgets = []
    if search.points is not None:
        budgets.append((search.points, f"search.points: {search.points}"))
    if search.item_evaluations is not None:
        n_items = sum(map(len, prepared.suite.documents.values()))
        more = search.item_evaluations // n_items - len(parents)
        budgets.append((more, f"search.item_evaluations: {search.item_evaluations:,}, {n_items:,} a point"))
    for allowed, words in budgets:
        if usual is None or allowed < usual:
            usual, basis = allowed, f"{prepared.strategy.name} with {words}"
        most = allowed if most is None else min(most, allowed)
    n = len(parents)
    likely = None if usual is None else n + usual
    bound = None if most is None else n + most
    return PointCount(likely, bound, f"{basis}; {n} parent{'s' if n != 1 else ''}")
