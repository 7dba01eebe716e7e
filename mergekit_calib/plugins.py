"""The extension points: what a third party's package can add to mergekit-calib. The whole surface is on this screen.

A package registers a module or object under the entry point group `mergekit_calib`; the built-in metrics, rules,
strategies and axes are registered the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from mergekit_calib.items.metric_registry import Metric
    from mergekit_calib.pareto import SelectionRule
    from mergekit_calib.recipe import AxisKind
    from mergekit_calib.search.strategy import StrategyKind

NAME = "mergekit_calib"

hookspec = pluggy.HookspecMarker(NAME)
hookimpl = pluggy.HookimplMarker(NAME)


class Hooks:
    @hookspec
    def calib_metrics(self) -> Iterable[Metric]:  # type: ignore[empty-body]
        """Metrics of item tables, which `objectives:` can then name."""

    @hookspec
    def calib_selection_rules(self) -> Mapping[str, SelectionRule]:  # type: ignore[empty-body]
        """Rules, by name, that `select: {rule: …}` can then name."""

    @hookspec
    def calib_search_strategies(self) -> Mapping[str, StrategyKind]:  # type: ignore[empty-body]
        """Strategies, by name, that `search: {strategy: …}` can then name."""

    @hookspec
    def calib_axis_kinds(self) -> Iterable[type[AxisKind]]:  # type: ignore[empty-body]
        """Return kinds of axes that stand for several, as `blocks` in `lambda: {blocks: 6, …}`."""


class BuiltIn:
    @hookimpl
    def calib_metrics(self) -> Iterable[Metric]:
        from mergekit_calib.items.metric_registry import BUILT_IN

        return BUILT_IN

    @hookimpl
    def calib_selection_rules(self) -> Mapping[str, SelectionRule]:
        from mergekit_calib.pareto import SELECTION_RULES

        return SELECTION_RULES

    @hookimpl
    def calib_search_strategies(self) -> Mapping[str, StrategyKind]:
        from mergekit_calib.search import STRATEGIES

        return STRATEGIES

    @hookimpl
    def calib_axis_kinds(self) -> Iterable[type[AxisKind]]:
        from mergekit_calib.recipe import AXIS_KINDS

        return AXIS_KINDS.values()


@cache
def manager() -> pluggy.PluginManager:
    """The plugin manager, with the built-in plugin and every installed one registered."""
    plugins = pluggy.PluginManager(NAME)
    plugins.add_hookspecs(Hooks)
    plugins.register(BuiltIn())
    plugins.load_setuptools_entrypoints(NAME)
    return plugins


def metrics() -> list[Metric]:
    """Every registered metric; of two with one name the later plugin's."""
    found = {m.name: m for some in reversed(manager().hook.calib_metrics()) for m in some}
    return list(found.values())


def selection_rules() -> dict[str, SelectionRule]:
    """Every registered selection rule."""
    return {name: rule for some in reversed(manager().hook.calib_selection_rules()) for name, rule in some.items()}


def search_strategies() -> dict[str, StrategyKind]:
    """Every registered search strategy."""
    return {name: kind for some in reversed(manager().hook.calib_search_strategies()) for name, kind in some.items()}


def axis_kinds() -> dict[str, type[AxisKind]]:
    """Return name → every registered axis kind; of two with one name the later plugin's."""
    return {kind.name: kind for some in reversed(manager().hook.calib_axis_kinds()) for kind in some}
