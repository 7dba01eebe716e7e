"""The baselines of a sweep, each compared with the chosen point on the held-out split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mergekit_calib.analysis import paired
from mergekit_calib.analysis.baselines.baseline_choice import Alternative, choose_among
from mergekit_calib.analysis.baselines.blend_curves import of_probabilities
from mergekit_calib.analysis.baselines.mixtures import average_probabilities, blend_log_probabilities
from mergekit_calib.analysis.baselines.temperature_scaling import (
    at_temperatures,
    fit_temperatures,
    fit_temperatures_without_labels,
)
from mergekit_calib.analysis.choices import Chooser
from mergekit_calib.analysis.estimation import Estimator, Results
from mergekit_calib.items.metric_registry import Metric
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable
from mergekit_calib.results.findings import Baseline

BASE = "base"


@dataclass(frozen=True)
class Choice:
    """The chosen point, which baselines are compared with.

    Attributes:
        id: its id.
        results: the results of its objectives on the held-out split.
        n: objective name → the number of items there.
    """

    id: str
    results: Results
    n: Mapping[str, int]


def compute_baselines(
    estimator: Estimator,
    chooser: Chooser,
    tables: Mapping[str, Tables],
    parents: Mapping[str, str],
    chosen: Choice,
    lambdas: Sequence[float],
) -> list[Baseline]:
    """Return the baselines of a sweep, each compared with the chosen point with and without a temperature.

    They are, of the first parent (base) with each other one: the other with a temperature fitted to labels, and with
    one fitted without labels to base; their averaged probabilities; their blended log-probabilities, at the λ that
    the sweep's rule chooses on the selection split. Of several of a kind, the one that the rule chooses is shown. A
    sweep of one parent has temperatures alone; so have parents without a base model that cannot be paired with it.

    Args:
        estimator: computes the metrics.
        chooser: the sweep's rule.
        tables: point id → its scores.
        parents: role → point id of the scored parents, in the order of the sweep.
        chosen: the chosen point.
        lambdas: the values of λ that blends are chosen among.
    """
    if not any(table.has_choices for some in tables[chosen.id].values() for table in some):
        return []
    by_kind = list(_of_parents(estimator, chooser, tables, parents, lambdas))
    of_parents = [scored for kind in by_kind for scored in kind]
    known = {baseline.id for baseline, _ in of_parents}
    role_of = {point: role for role, point in parents.items()}
    own = _with_temperature(chosen.id, role_of.get(chosen.id, chosen.id), tables)
    scored = [*of_parents, *([own] if own and own[0].id not in known else [])]
    for kind in by_kind:
        _show_the_best(estimator, chooser, kind)
    if own:
        next(baseline for baseline, _ in scored if baseline.id == own[0].id).shown = True

    results: dict[str, Results] = {}
    for baseline, its_tables in scored:
        wanted = _of_choices if baseline.kind == "temperature" else of_probabilities
        by_scope = estimator.bootstrap(its_tables, ("held_out",), wanted)
        baseline.metrics = estimator.estimates(by_scope, its_tables)
        results[baseline.id] = paired.of_objectives(by_scope, chooser.objectives, "held_out")
    compared = {chosen.id: chosen.results} | ({own[0].id: results[own[0].id]} if own else {})
    for baseline, _ in scored:
        for name, mine in compared.items():
            if name != baseline.id:
                pair = mine, results[baseline.id]
                of_pair = paired.differences(*pair, chooser.objectives, estimator.level, chosen.n)
                baseline.differences[name] = of_pair
    return [baseline for baseline, _ in scored]


Scored = tuple[Baseline, Tables]


def _of_parents(
    estimator: Estimator,
    chooser: Chooser,
    tables: Mapping[str, Tables],
    parents: Mapping[str, str],
    lambdas: Sequence[float],
) -> Iterator[list[Scored]]:
    """Yield the baselines of the parents, those of one kind together."""
    if not parents:
        return  # every one failed
    first, *others = parents.items()
    # Without a base model the first parent is a tuned model like the others.
    tuned = others if first[0] == BASE and others else [first, *others]
    with_labels = [_with_temperature(point, role, tables) for role, point in tuned]
    yield [scored for scored in with_labels if scored is not None]
    if first[0] == BASE:
        yield [_without_labels(point, role, tables, first[1]) for role, point in others]
    pairs = [(first, other) for other in others]
    yield [_average(*pair, tables) for pair in pairs]
    blends = [_blend(*pair, estimator, chooser, tables, lambdas) for pair in pairs]
    yield [scored for scored in blends if scored is not None]


def _with_temperature(point: str, name: str, tables: Mapping[str, Tables]) -> Scored | None:
    temperatures = fit_temperatures(tables[point])
    if not temperatures:
        return None
    baseline = Baseline(id=f"{name}+T", kind="temperature", of=[point], temperatures=temperatures)
    return baseline, at_temperatures(tables[point], temperatures)


def _without_labels(point: str, role: str, tables: Mapping[str, Tables], base: str) -> Scored:
    temperatures = fit_temperatures_without_labels(tables[point], tables[base])
    baseline = Baseline(id=f"{role}+T*", kind="temperature", of=[point], temperatures=temperatures, uses_labels=False)
    return baseline, at_temperatures(tables[point], temperatures)


def _average(first: tuple[str, str], other: tuple[str, str], tables: Mapping[str, Tables]) -> Scored:
    baseline = Baseline(id=f"{first[0]}&{other[0]}", kind="average", of=[first[1], other[1]], models_run=2)
    return baseline, average_probabilities(tables[first[1]], tables[other[1]])


def _blend(
    first: tuple[str, str],
    other: tuple[str, str],
    estimator: Estimator,
    chooser: Chooser,
    tables: Mapping[str, Tables],
    lambdas: Sequence[float],
) -> Scored | None:
    """Return the blend at the λ that the rule chooses; the parents are its ends, and run alone if chosen."""
    ends = {0.0: first[0], 1.0: other[0]}
    blended = {at: blend_log_probabilities(tables[first[1]], tables[other[1]], at) for at in lambdas}
    by_name = {repr(at): (at, scores) for at, scores in blended.items() if scores is not None}
    alternatives = {name: Alternative(scores, ends.get(at)) for name, (at, scores) in by_name.items()}
    chosen = choose_among(estimator, chooser, alternatives)
    if chosen is None:
        return None
    at, scores = by_name[chosen]
    baseline = Baseline(
        id=f"{first[0]}|{other[0]}",
        kind="blend",
        of=[first[1], other[1]],
        at=at,
        models_run=1 if at in ends else 2,
    )
    return baseline, scores


def _show_the_best(estimator: Estimator, chooser: Chooser, kind: Sequence[Scored]) -> None:
    """Mark all baselines of a kind but one as not shown, the one that the rule chooses on the selection split."""
    if len(kind) > 1:
        best = choose_among(estimator, chooser, {baseline.id: Alternative(tables) for baseline, tables in kind})
        for i, (baseline, _) in enumerate(kind):
            baseline.shown = baseline.id == best if best else i == 0


def _of_choices(table: ItemTable, metric: Metric) -> bool:
    """Return whether the metric is computed from the choices' scores, and is not one of the task's own metrics."""
    return table.has_choices and metric.name not in table.values
