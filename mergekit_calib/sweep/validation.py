"""What of a sweep's block can be checked against what is registered and what the suite yields, key by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mergekit_calib import pareto, plugins
from mergekit_calib.errors import RecipeError, near_names
from mergekit_calib.items.table import in_selection_split
from mergekit_calib.recipe import Sweep
from mergekit_calib.recipe.block import ObjectiveSpec
from mergekit_calib.results.frontier import SUITE, Objective
from mergekit_calib.scoring.item_tables import own_metrics
from mergekit_calib.scoring.loading import LoadedEntry, judges_by_choice
from mergekit_calib.scoring.suite import Suite
from mergekit_calib.search import Strategy
from mergekit_calib.search.journal import storage_problem

T = TypeVar("T")


def check_rule(sweep: Sweep) -> None:
    """That the selection rule exists and can use its options.

    Raises:
        RecipeError: naming the key.
    """
    select = sweep.calibration.select
    rules = plugins.selection_rules()
    rule = select.get("rule", "knee")
    if rule not in rules:
        known = ", ".join(sorted(rules))
        raise RecipeError(
            "calibration.select.rule",
            f"no rule {rule!r}{near_names(str(rule), rules)}; there are {known}",
            sweep.source,
        )
    names = [objective.name for objective in sweep.calibration.objectives]
    options = {k: v for k, v in select.items() if k != "rule"}
    if problems := pareto.validate_options(rule, options, names, rules):
        raise RecipeError("calibration.select", problems[0], sweep.source)


@dataclass(frozen=True)
class _Pool:
    """Items of the suite that are measured together, and the directions of the metrics that they yield."""

    has_choices: bool
    directions: dict[str, str]
    documents: list[str]


def objectives_of(sweep: Sweep, suite: Suite) -> list[Objective]:
    """The objectives with their directions.

    Raises:
        RecipeError: one that no task yields, with near names, that is no objective, or that has no items to choose on
            or none to report on.
    """
    _check_splits(sweep)
    pools = {item.entry.name: _pools(item) for item in suite.entries}
    averaged = [name for name, some in pools.items() if some[0].has_choices] or list(pools)
    together = [pool for some in pools.values() for pool in some]
    pools[SUITE] = [_pooled([pool for pool in together if pool.has_choices] or together)]
    found = []
    for i, spec in enumerate(sweep.calibration.objectives):
        key, scope = f"calibration.objectives[{i}]", spec.task or SUITE
        if scope not in pools:
            tasks = [entry.name for entry in sweep.calibration.suite]
            raise RecipeError(
                key,
                f"{spec.task!r} is not in the suite{near_names(scope, tasks)}; it has {', '.join(tasks)}",
                sweep.source,
            )
        of = averaged if spec.average == "macro" else [scope]
        available = _shared([_directions(pools[name]) for name in of])
        _check_metric(key, spec, available, sweep)
        weights = spec.weights or {}
        if weights and set(weights) != set(averaged):
            raise RecipeError(
                f"{key}.weights",
                f"found {', '.join(weights)}; a weight for each of {', '.join(averaged)} is needed",
                sweep.source,
            )
        for name in of:
            documents = next(pool.documents for pool in pools[name] if spec.metric in pool.directions)
            _check_documents(key, spec, "the suite" if name == SUITE else name, documents, sweep)
        objective = {"metric": spec.metric, "task": spec.task, "direction": available[spec.metric]}
        found.append(Objective.model_validate({**objective, "average": spec.average or "pooled", "weights": weights}))
    return found


def _pools(item: LoadedEntry) -> list[_Pool]:
    """The tasks of an entry that are judged by choice, and the others, as `objectives.pools_of` has their tables."""
    known = {metric.name: metric.direction for metric in plugins.metrics()}
    found = []
    for has_choices in (True, False):
        tasks = [task for task in item.tasks if judges_by_choice(task) == has_choices]
        if tasks:
            own = _shared([own_metrics(task) for task in tasks])
            directions = {name: "maximize" if up else "minimize" for name, up in own.items()}
            documents = [doc for task in tasks for doc in item.documents[task.task_name]]
            found.append(_Pool(has_choices, {**known, **directions} if has_choices else directions, documents))
    return found


def _pooled(pools: Sequence[_Pool]) -> _Pool:
    documents = [doc for pool in pools for doc in pool.documents]
    return _Pool(pools[0].has_choices, _shared([pool.directions for pool in pools]), documents)


def _directions(pools: Sequence[_Pool]) -> dict[str, str]:
    """Of every metric of an entry; one that both its pools yield is of choices."""
    return {name: way for pool in reversed(pools) for name, way in pool.directions.items()}


def _shared(some: Sequence[Mapping[str, T]]) -> dict[str, T]:
    """What all have, as the first has it."""
    return {name: value for name, value in some[0].items() if all(name in other for other in some)}


def _check_metric(key: str, spec: ObjectiveSpec, available: Mapping[str, str], sweep: Sweep) -> None:
    signed = {metric.name for metric in plugins.metrics() if metric.signed}
    if spec.metric.partition(",")[0] in signed:
        problem = f"{spec.metric} is best near 0, so neither more nor less of it is better; use ece, or brier"
        raise RecipeError(key, problem, sweep.source)
    if spec.metric not in available:
        where = f"task {spec.task}" if spec.task else "no task of the suite"
        verb = "does not yield" if spec.task else "yields"
        near, names = near_names(spec.metric, available), ", ".join(sorted(available.keys() - signed))
        raise RecipeError(key, f"{where} {verb} a metric {spec.metric!r}{near}; there are {names}", sweep.source)


def _check_documents(key: str, spec: ObjectiveSpec, name: str, documents: Sequence[str], sweep: Sweep) -> None:
    n_selection = sum(map(in_selection_split, documents))
    if 0 < n_selection < len(documents):
        return
    missing = "held_out" if n_selection else "selection"
    problem = (
        f"{spec.name} needs items in both splits, and of the {len(documents):,} of {name} none is in the {missing} "
        "split, to which an item belongs by its hash; score more of them (a larger limit, or none)"
    )
    raise RecipeError(key, problem, sweep.source)


def _check_splits(sweep: Sweep) -> None:
    """That every objective has items to choose on and items to report on, where entries name their split."""
    block = sweep.calibration
    splits = {entry.name: entry.split for entry in block.suite}
    named = {split for split in splits.values() if split}
    if len(named) == 1 and all(splits.values()):
        missing = "held_out" if named == {"selection"} else "selection"
        problem = f"every entry has split: {named.pop()}; one with split: {missing}, or with none, is needed"
        raise RecipeError("calibration.suite", problem, sweep.source)
    for i, spec in enumerate(block.objectives):
        one_sided = [name for name, split in splits.items() if split and (spec.average == "macro" or name == spec.task)]
        if one_sided:
            problem = f"{spec.name} needs items in both splits, and {one_sided[0]} has all in {splits[one_sided[0]]}"
            raise RecipeError(f"calibration.objectives[{i}]", f"{problem}; use the pooled {spec.metric}", sweep.source)


def strategy_of(sweep: Sweep) -> Strategy:
    """The search strategy, with its options.

    Raises:
        RecipeError: no such strategy, options or axes that it cannot use, no budget where it needs one, or a database
            that cannot be had.
    """
    settings, kinds, source = sweep.calibration.search, plugins.search_strategies(), sweep.source
    name, key = settings.strategy, "calibration.search"
    if name not in kinds:
        known = ", ".join(sorted(kinds))
        raise RecipeError(
            f"{key}.strategy", f"no strategy {name!r}{near_names(name, kinds)}; there are {known}", source
        )
    kind = kinds[name]
    for option, value in settings.options.items():
        if option not in kind.options:
            near = near_names(option, [*type(settings).model_fields, *kind.options])
            takes = f"{name} takes {', '.join(kind.options) or 'no options of its own'}"
            raise RecipeError(f"{key}.{option}", f"is not a key here{near}; {takes}", source)
        if problem := kind.options[option](value):
            raise RecipeError(f"{key}.{option}", f"{problem} (found {value!r})", source)
    if problem := kind.fits(sweep.axes):
        raise RecipeError(f"{key}.strategy", problem, source)
    if kind.needs_budget and not settings.has_budget:
        raise RecipeError(key, f"{name} has no end of its own: give it points, item_evaluations or minutes", source)
    if settings.storage and (problem := storage_problem(settings.storage)):
        raise RecipeError(f"{key}.storage", problem, source)
    return kind.make(settings.options)


def check_budget(sweep: Sweep, suite: Suite) -> None:
    """That the budget of item evaluations reaches for the parents, which are always scored.

    Raises:
        RecipeError: with what would do.
    """
    budget, n_items = sweep.calibration.search.item_evaluations, sum(map(len, suite.documents.values()))
    if budget is not None and budget < 2 * n_items:
        raise RecipeError(
            "calibration.search.item_evaluations",
            f"{budget:,} do not reach for both parents, of {n_items:,} documents each; {3 * n_items:,} score one point "
            "beside them",
            sweep.source,
        )


def resolution_notes(n_tested: int | None, n_resamples: int, level: float) -> list[str]:
    """A note where the test of superiority could show nothing, however large a gain.

    Args:
        n_tested: how many points there will be besides the parents; None where that is not known.
    """
    needed = pareto.resamples_needed(n_tested or 1, level)
    if n_resamples >= needed:
        return []
    points = "a point" if n_tested is None else f"any of {n_tested:,} points"
    return [
        f"{n_resamples:,} resamples are too few to show {points} Pareto-superior at the {100 * (1 - level):g} % level, "
        f"however large its gain: set n_resamples to {needed:,} or more."
    ]
