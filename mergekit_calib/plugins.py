"""The extension points: what a third party's package can add to mergekit-calib. The whole surface is on this screen.

A package registers a module or object under the entry point group `mergekit_calib`; the built-in metrics and rules are
registered the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from mergekit_calib.objectives import Metric
    from mergekit_calib.pareto import SelectionRule

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


class BuiltIn:
    @hookimpl
    def calib_metrics(self) -> Iterable[Metric]:
        from mergekit_calib.objectives import BUILT_IN

        return BUILT_IN

    @hookimpl
    def calib_selection_rules(self) -> Mapping[str, SelectionRule]:
        from mergekit_calib.pareto import SELECTION_RULES

        return SELECTION_RULES


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
