"""The hooks through which a plugin adds metrics, selection rules, search strategies and kinds of axes.

A plugin is a module that implements some of these functions, each under the decorator `hookimpl`. Its package names the
module in the entry point group `mergekit_calib`. If it adds something under a built-in name, it replaces
the built-in one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    from mergekit_calib.items.metric_registry import Metric
    from mergekit_calib.pareto import SelectionRule
    from mergekit_calib.recipe import AxisKind
    from mergekit_calib.search import Strategy

GROUP = "mergekit_calib"

hookspec = HookspecMarker(GROUP)
hookimpl = HookimplMarker(GROUP)


@hookspec
def calib_metrics() -> Iterable[Metric]:  # type: ignore[empty-body]
    """Return metrics of item tables, for `objectives:` to name.

    A metric made with `needs_reference=True` compares a model with a parent, whose scores of the same items are
    `context.reference`. Its objective says which parent: `{metric: NAME, to: aligned}`, named `NAME_to_aligned`.
    """


@hookspec
def calib_selection_rules() -> Iterable[type[SelectionRule]]:  # type: ignore[empty-body]
    """Return selection rules, which `select: {rule: …}` can name."""


@hookspec
def calib_search_strategies() -> Iterable[type[Strategy]]:  # type: ignore[empty-body]
    """Return search strategies, which `search: {strategy: …}` can name."""


@hookspec
def calib_axis_kinds() -> Iterable[type[AxisKind]]:  # type: ignore[empty-body]
    """Return kinds of axes that expand to several axes, such as `blocks` in `lambda: {blocks: 6, min: 0, max: 1}`."""
