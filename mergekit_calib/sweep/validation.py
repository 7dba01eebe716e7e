"""Checks of a `calibration:` block against the registered rules, strategies and metrics, and against the suite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from mergekit_calib import pareto, plugins
from mergekit_calib.analysis.choices import RULE_SCORES, scores_beside
from mergekit_calib.errors import RecipeError, near_names, option_problems
from mergekit_calib.items.metric_registry import Metric, with_references
from mergekit_calib.items.scopes import FEWEST_ITEMS_OF_WORST, Scopes, TaskDescription
from mergekit_calib.items.table import in_selection_split
from mergekit_calib.recipe import Sweep
from mergekit_calib.recipe.block import ObjectiveSpec
from mergekit_calib.results.findings import MACRO, SUITE, WORST
from mergekit_calib.results.frontier import Objective
from mergekit_calib.results.names import metric_key
from mergekit_calib.scoring.suite import Suite
from mergekit_calib.search import Strategy
from mergekit_calib.search.database import storage_problem


def check_rule(sweep: Sweep, scores: Sequence[str] = RULE_SCORES) -> None:
    """Check that the selection rule exists and can use its options.

    Args:
        sweep: the sweep.
        scores: the metrics that the rule may look at beside the objectives.

    Raises:
        RecipeError: there is no such rule, or its options are wrong.
    """
    select = sweep.calibration.select
    rules = plugins.selection_rules()
    rule = select.get("rule", pareto.DEFAULT_RULE)
    if rule not in rules:
        names = ", ".join(sorted(rules))
        raise RecipeError(
            "calibration.select.rule",
            f"no rule {rule!r}{near_names(str(rule), rules)}; there are {names}",
            sweep.source,
        )
    objective_names = [objective.name for objective in sweep.calibration.objectives]
    options = {k: v for k, v in select.items() if k != "rule"}
    if problems := pareto.rule_problems(rule, options, objective_names, scores, rules):
        raise RecipeError("calibration.select", "; ".join(problems), sweep.source)


def rule_scores_of(objectives: Sequence[Objective], tasks: Sequence[TaskDescription]) -> list[str]:
    """Return the metrics that a selection rule can look at beside the objectives, in a suite of `tasks`."""
    scopes = Scopes(tasks, plugins.metrics().values())
    return [name for name, o in scores_beside(objectives).items() if name in scopes.metrics(o.scope)]


def objectives_of(sweep: Sweep, tasks: Sequence[TaskDescription]) -> list[Objective]:
    """Return the sweep's objectives with their directions.

    Args:
        sweep: the sweep.
        tasks: the tasks of its suite.

    Raises:
        RecipeError: an objective with an unknown task, metric or parent (with near names), with a metric that has no
            direction, with a `to` that its metric does not take or without one that it needs, or without items in one
            of the splits.
    """
    _check_splits(sweep)
    # With each parent, so that a scope has every metric that an objective could name there.
    pairs = [(metric, role) for metric in plugins.metrics() for role in sweep.parent_models]
    scopes = Scopes(tasks, with_references(plugins.metrics().values(), pairs))
    objectives = []
    for i, spec in enumerate(sweep.calibration.objectives):
        key = f"calibration.objectives[{i}]"
        if spec.task is not None and spec.task not in scopes.pools:
            near, names = near_names(spec.task, scopes.entries), ", ".join(scopes.entries)
            raise RecipeError(key, f"{spec.task!r} is not in the suite{near}; it has {names}", sweep.source)
        scope = spec.task or {"macro": MACRO, "worst": WORST}.get(spec.average or "", SUITE)
        if scope == WORST:
            _check_worst(key, spec, scopes, sweep)
        available = scopes.metrics(scope)
        _check_reference(key, spec, available, sweep)
        _check_metric(key, spec, available, sweep)
        weights = spec.weights or {}
        if weights and set(weights) != set(scopes.averaged_entries):
            raise RecipeError(
                f"{key}.weights",
                f"found {', '.join(weights)}; a weight for each of {', '.join(scopes.averaged_entries)} is needed",
                sweep.source,
            )
        for term in scopes.terms(scope, spec.key):
            name = "the suite" if term.scope == SUITE else term.scope
            _check_documents(key, spec, name, term.pool.doc_hashes, sweep)
        objectives.append(
            Objective(
                metric=spec.metric,
                task=spec.task,
                direction=available[spec.key].direction,
                average=spec.average or "pooled",
                weights=weights,
                to=spec.to,
            )
        )
    return objectives


def _check_reference(key: str, spec: ObjectiveSpec, available: Mapping[str, Metric], sweep: Sweep) -> None:
    """Check that the objective names a parent if, and only if, its metric compares with one."""
    comparing = {name for name, metric in plugins.metrics().items() if metric.needs_reference}
    roles = list(sweep.parent_models)
    if spec.metric in available and (role := available[spec.metric].to) is not None:
        metric = spec.metric.removesuffix(metric_key("", role))
        raise RecipeError(key, f"{spec.metric!r} is written {{metric: {metric}, to: {role}}}", sweep.source)
    if spec.to is None:
        if spec.metric in comparing and spec.metric not in available:
            problem = f"{spec.metric} compares with a parent: add `to:` with one of {', '.join(roles)}"
            raise RecipeError(key, problem, sweep.source)
    elif spec.metric not in comparing and (spec.metric in available or spec.metric in plugins.metrics()):
        problem = f"{spec.metric} compares with no parent: remove `to` (it is for {', '.join(sorted(comparing))})"
        raise RecipeError(f"{key}.to", problem, sweep.source)
    elif spec.to not in roles:
        problem = f"{spec.to!r} is no parent{near_names(spec.to, roles)}; the parents are {', '.join(roles)}"
        raise RecipeError(f"{key}.to", problem, sweep.source)


def _check_metric(key: str, spec: ObjectiveSpec, available: Mapping[str, Metric], sweep: Sweep) -> None:
    """Check that the objective's metric is one of `available`, and one that has a direction."""
    signed = {name for name, metric in plugins.metrics().items() if metric.signed}
    if spec.metric.partition(",")[0] in signed:
        problem = f"{spec.metric} is best near 0, so it can be neither maximized nor minimized; use ece or brier"
        raise RecipeError(key, problem, sweep.source)
    if spec.key not in available:
        averages = {"macro": "the average over the suite's tasks", "worst": "the worst of the suite's tasks"}
        scope = averages.get(spec.average or "", "the suite")
        scope = f"task {spec.task}" if spec.task else scope
        known = {name.removesuffix(metric_key("", metric.to)) for name, metric in available.items()} - signed
        near, names = near_names(spec.metric, known), ", ".join(sorted(known))
        raise RecipeError(key, f"{scope} has no metric {spec.metric!r}{near}; it has {names}", sweep.source)


def _check_worst(key: str, spec: ObjectiveSpec, scopes: Scopes, sweep: Sweep) -> None:
    """Check that at least two tasks are large enough for the worst, and that no race stops points by it."""
    if len(scopes.tasks_of_worst) < 2:
        small = ", ".join(f"{task} {n}" for task, n in scopes.too_small_for_worst.items())
        small = f" (in the smaller split: {small})" if small else ""
        problem = (
            f"{spec.name} is the worst of the tasks with at least {FEWEST_ITEMS_OF_WORST} items in each split, and "
            f"needs two or more of them; the suite has {len(scopes.tasks_of_worst)}{small}"
        )
        raise RecipeError(key, problem, sweep.source)
    if sweep.calibration.search.racing:
        problem = f"{spec.name} cannot be raced: parts of the items say little of the worst task; remove search.racing"
        raise RecipeError(key, problem, sweep.source)


def _check_documents(key: str, spec: ObjectiveSpec, name: str, documents: Sequence[str], sweep: Sweep) -> None:
    """Check that both splits have some of the documents that an objective is computed from, those of `name`."""
    n_selection = sum(map(in_selection_split, documents))
    if 0 < n_selection < len(documents):
        return
    missing = "held_out" if n_selection else "selection"
    problem = (
        f"{spec.name} needs items in both splits, but none of the {len(documents):,} items of {name} is in the "
        f"{missing} split (an item's hash decides its split); score more items: a larger limit, or none"
    )
    raise RecipeError(key, problem, sweep.source)


def _check_splits(sweep: Sweep) -> None:
    """Check that every objective has items in both splits if suite entries set `split`."""
    block = sweep.calibration
    splits = {entry.name: entry.split for entry in block.suite}
    named = {split for split in splits.values() if split}
    if len(named) == 1 and all(splits.values()):
        missing = "held_out" if named == {"selection"} else "selection"
        problem = f"every entry has split: {named.pop()}; at least one needs split: {missing}, or no split"
        raise RecipeError("calibration.suite", problem, sweep.source)
    for i, spec in enumerate(block.objectives):
        of_every_task = spec.average in ("macro", "worst")
        in_one_split = [name for name, split in splits.items() if split and (of_every_task or name == spec.task)]
        if in_one_split:
            name = in_one_split[0]
            problem = f"{spec.name} needs items in both splits, but all items of {name} are in the {splits[name]} split"
            raise RecipeError(f"calibration.objectives[{i}]", f"{problem}; use the pooled {spec.metric}", sweep.source)


def strategy_of(sweep: Sweep) -> Strategy:
    """Return the search strategy with its options.

    Args:
        sweep: the sweep, with its axes expanded.

    Raises:
        RecipeError: no strategy has that name; its options are wrong; it cannot search the axes; it needs a budget and
            has none; or the database cannot be used.
    """
    settings, strategies, source = sweep.calibration.search, plugins.search_strategies(), sweep.source
    name, key = sweep.calibration.strategy, "calibration.search"
    if name not in strategies:
        names = ", ".join(sorted(strategies))
        problem = f"no strategy {name!r}{near_names(name, strategies)}; there are {names}"
        raise RecipeError(f"{key}.strategy", problem, source)
    strategy_class = strategies[name]
    try:
        strategy = strategy_class.model_validate(settings.options)
    except ValidationError as error:
        option_names = [*type(settings).model_fields, *strategy_class.model_fields]
        raise RecipeError(key, "; ".join(option_problems(error, option_names)), source) from None
    if problem_with_axes := strategy_class.fits(sweep.axes):
        raise RecipeError(f"{key}.strategy", problem_with_axes, source)
    if strategy_class.needs_budget and not settings.has_budget:
        raise RecipeError(key, f"{name} never stops by itself: give it points, item_evaluations or minutes", source)
    if settings.storage and (problem_with_storage := storage_problem(settings.storage)):
        raise RecipeError(f"{key}.storage", problem_with_storage, source)
    return strategy


def most_points(sweep: Sweep, suite: Suite) -> float:
    """Return how many points the budget allows at most, if no race stops one; infinity if it is time alone."""
    search, n_items = sweep.calibration.search, sum(map(len, suite.documents.values()))
    by_items = math.inf if search.item_evaluations is None else search.item_evaluations // n_items
    return min(math.inf if search.points is None else search.points, by_items)


def check_budget(sweep: Sweep, suite: Suite) -> None:
    """Check that the budget of item evaluations is enough for the parents, which are always scored.

    Raises:
        RecipeError: the budget is too small; the message gives one that is enough.
    """
    budget, n_items = sweep.calibration.search.item_evaluations, sum(map(len, suite.documents.values()))
    n_parents = len(sweep.parent_models)
    if budget is not None and budget < n_parents * n_items:
        raise RecipeError(
            "calibration.search.item_evaluations",
            f"{budget:,} are too few to score {n_parents} parents on {n_items:,} documents each; "
            f"{(n_parents + 1) * n_items:,} are enough for the parents and one more point",
            sweep.source,
        )
