"""The plugin manager, and functions that return what the built-in plugin and the installed plugins add."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from pluggy import PluginManager

from mergekit_calib import hookspecs
from mergekit_calib.errors import CalibError
from mergekit_calib.hookspecs import GROUP, hookimpl

if TYPE_CHECKING:
    from mergekit_calib.items.metric_registry import Metric
    from mergekit_calib.pareto import SelectionRule
    from mergekit_calib.recipe import AxisKind
    from mergekit_calib.search import Strategy

_KINDS = {
    "calib_metrics": "metric",
    "calib_selection_rules": "selection rule",
    "calib_search_strategies": "search strategy",
    "calib_axis_kinds": "axis kind",
}


class BuiltIn:
    """The plugin with everything that is built in. Its imports are lazy, since importing optuna takes a second."""

    @hookimpl
    def calib_metrics(self) -> Iterable[Metric]:
        """Return the metrics of `items.item_metrics`."""
        from mergekit_calib.items.metric_registry import BUILT_IN

        return BUILT_IN

    @hookimpl
    def calib_selection_rules(self) -> Iterable[type[SelectionRule]]:
        """Return the rules of `pareto.rules`."""
        from mergekit_calib.pareto import SELECTION_RULES

        return SELECTION_RULES.values()

    @hookimpl
    def calib_search_strategies(self) -> Iterable[type[Strategy]]:
        """Return the strategies of `search.strategies`."""
        from mergekit_calib.search import STRATEGIES

        return STRATEGIES.values()

    @hookimpl
    def calib_axis_kinds(self) -> Iterable[type[AxisKind]]:
        """Return the axis kinds of `recipe`."""
        from mergekit_calib.recipe import AXIS_KINDS

        return AXIS_KINDS.values()


@cache
def manager() -> PluginManager:
    """Return the plugin manager, with the built-in plugin and every installed one.

    Raises:
        CalibError: an installed plugin cannot be imported.
    """
    plugins = PluginManager(GROUP)
    plugins.add_hookspecs(hookspecs)
    plugins.register(BuiltIn())
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            plugins.load_setuptools_entrypoints(GROUP, entry.name)
        except Exception as problem:  # a third party's module may raise anything
            package = entry.dist.name if entry.dist else entry.name
            reason = f"{type(problem).__name__}: {problem}"
            raise CalibError(f"the plugin {package} cannot be loaded: {reason}; update or uninstall it") from problem
    return plugins


def metrics() -> dict[str, Metric]:
    """Return name → metric, for every registered metric; if two have the same name, the later plugin's."""
    return {metric.name: metric for some in reversed(manager().hook.calib_metrics()) for metric in some}


def selection_rules() -> dict[str, type[SelectionRule]]:
    """Return name → selection rule, for every registered one; if two have the same name, the later plugin's."""
    return {rule.name: rule for some in reversed(manager().hook.calib_selection_rules()) for rule in some}


def search_strategies() -> dict[str, type[Strategy]]:
    """Return name → search strategy, for every registered one; if two have the same name, the later plugin's."""
    strategies = reversed(manager().hook.calib_search_strategies())
    return {strategy.name: strategy for some in strategies for strategy in some}


def axis_kinds() -> dict[str, type[AxisKind]]:
    """Return name → axis kind, for every registered one; if two have the same name, the later plugin's."""
    return {kind.name: kind for some in reversed(manager().hook.calib_axis_kinds()) for kind in some}


@dataclass(frozen=True)
class InstalledPlugin:
    """A plugin from an installed distribution.

    Attributes:
        distribution: the distribution's name.
        version: its version.
        adds: the kind and name of each thing that it adds, such as `metric mean_confidence`.
    """

    distribution: str
    version: str
    adds: list[str]


def installed_plugins() -> list[InstalledPlugin]:
    """Return the plugins of other distributions.

    Raises:
        CalibError: an installed plugin cannot be imported.
    """
    return [
        InstalledPlugin(distribution.metadata["name"], distribution.version, _added_by(plugin))
        for plugin, distribution in manager().list_plugin_distinfo()
    ]


def _added_by(plugin: object) -> list[str]:
    """Return what a plugin adds, in the order of the hooks."""
    return [
        f"{kind} {one.name}"
        for hook, kind in _KINDS.items()
        for implementation in getattr(manager().hook, hook).get_hookimpls()
        if implementation.plugin is plugin
        for one in implementation.function()
    ]
