"""The sweep's selection rule, applied to baselines: which λ of a blend, and which of several baselines of a kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mergekit_calib import pareto, plugins
from mergekit_calib.analysis.baselines.blend_curves import of_probabilities
from mergekit_calib.analysis.choices import RULE_SCORES, Chooser
from mergekit_calib.analysis.estimation import Estimator, Results
from mergekit_calib.items.metric_registry import Metric
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable, Split
from mergekit_calib.results.findings import Objective
from mergekit_calib.results.frontier import PointResult


@dataclass(frozen=True)
class Alternative:
    """Scores that could be chosen.

    Attributes:
        tables: the scores.
        role: the role of the parent whose scores they are; None if they are not a parent's.
    """

    tables: Tables
    role: str | None = None


def choose_among(
    estimator: Estimator, chooser: Chooser, alternatives: Mapping[str, Alternative], split: Split
) -> str | None:
    """Return the name of the alternative that the sweep's rule chooses on `split`.

    Objectives that are not computed from choices' probabilities are left out. If the rule cannot do without them, the
    default rule chooses by the others.

    Args:
        estimator: computes the metrics.
        chooser: the sweep's rule.
        alternatives: name → scores.
        split: the items to choose on.

    Returns:
        The name; None if no objective can be computed, or none is finite for any alternative.
    """
    keys = {*RULE_SCORES, *(objective.key for objective in chooser.objectives)}

    def wanted(table: ItemTable, metric: Metric) -> bool:
        return metric.name in keys and of_probabilities(table, metric)

    points: list[PointResult] = []
    results: dict[str, Mapping[Split, Results]] = {}
    for name, each in alternatives.items():
        by_scope = estimator.bootstrap(each.tables, (split,), wanted)
        metrics = estimator.estimates(by_scope, each.tables)
        points.append(PointResult(id=name, role=each.role, recipe="", metrics=metrics))
        results[name] = chooser.results_of(by_scope)
    usable = [o for o in chooser.objectives if all(o.name in of[split] for of in results.values())]
    finite = [p for p in points if all(p.estimate(o, split).value is not None for o in usable)]
    if not usable or not finite:
        return None
    return _with_objectives(chooser, usable).choose(finite, results, split).point


def _with_objectives(chooser: Chooser, objectives: list[Objective]) -> Chooser:
    if len(objectives) == len(chooser.objectives):
        return chooser
    names = [objective.name for objective in objectives]
    if pareto.rule_problems(chooser.rule, chooser.options, names, RULE_SCORES, plugins.selection_rules()):
        return replace(chooser, objectives=objectives, rule=pareto.DEFAULT_RULE, options={})
    return replace(chooser, objectives=objectives)
