"""Baselines, which need no merge: temperature scaling of aligned and of the choice, and averaging the parents.

They are computed from item scores alone: temperatures are fitted on the selection split, and every number is from
the held-out split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mergekit_calib import metrics
from mergekit_calib.analysis import paired
from mergekit_calib.analysis.estimation import Estimator, Results
from mergekit_calib.items.metric_registry import Metric
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable, pool
from mergekit_calib.results.findings import Baseline, Objective


def compute_baselines(
    estimator: Estimator,
    objectives: Sequence[Objective],
    tables: Mapping[str, Tables],
    points: Mapping[str, Results],
    parents: Mapping[str, str],
    chosen: str,
    n: Mapping[str, int],
) -> list[Baseline]:
    """Return the baselines of a sweep, each compared with the chosen point with and without a temperature.

    Args:
        estimator: computes the metrics.
        objectives: the objectives to compare.
        tables: point id → its scores.
        points: point id → results of its objectives on the held-out split.
        parents: `base` and `aligned` → point id; baselines of a missing parent are left out.
        chosen: the id of the chosen point.
        n: objective name → the number of items.
    """
    scored = _with_temperatures(tables, parents, chosen)
    if {"base", "aligned"} <= parents.keys() and _has_choices(tables[chosen]):
        both = [parents["base"], parents["aligned"]]
        average = Baseline(id="base&aligned", kind="average", of=both, models_run=2)
        scored.insert(1, (average, average_probabilities(*(tables[name] for name in both))))

    results: dict[str, Results] = {}
    for baseline, its_tables in scored:
        wanted = _of_probabilities if baseline.kind == "average" else _of_choices
        by_scope = estimator.bootstrap(its_tables, ("held_out",), wanted)
        baseline.metrics = estimator.estimates(by_scope, its_tables)
        results[baseline.id] = paired.of_objectives(by_scope, objectives, "held_out")

    recalibrated = next((b.id for b, _ in scored if b.kind == "temperature" and b.of == [chosen]), None)
    compared = {chosen: points[chosen]}
    if recalibrated is not None:
        compared[recalibrated] = results[recalibrated]
    for baseline, _ in scored:
        for name, mine in compared.items():
            if name != baseline.id:
                theirs = results[baseline.id]
                baseline.differences[name] = paired.differences(mine, theirs, objectives, estimator.level, n)
    return [baseline for baseline, _ in scored]


def _with_temperatures(
    tables: Mapping[str, Tables], parents: Mapping[str, str], chosen: str
) -> list[tuple[Baseline, Tables]]:
    """Return the temperature-scaling baselines, aligned and the chosen point, each with its scores."""
    scored = []
    for name in dict.fromkeys(name for name in (parents.get("aligned"), chosen) if name is not None):
        if temperatures := fit_temperatures(tables[name]):
            label = "aligned" if name == parents.get("aligned") else name
            baseline = Baseline(id=f"{label}+T", kind="temperature", of=[name], temperatures=temperatures)
            scored.append((baseline, at_temperatures(tables[name], temperatures)))
    return scored


def fit_temperatures(tables: Tables) -> dict[str, float]:
    """Fit a temperature to each suite entry, on its items with choices in the selection split.

    Each entry has its own, since log-likelihoods differ in scale between tasks (choices are letters, or sentences). One
    temperature for all would be a weaker baseline, which merging would beat too easily. An entry without items in the
    selection split has the temperature fitted to all other entries together.

    Returns:
        Entry → temperature, for the entries with choices.
    """
    by_entry = {
        entry: [part for part in (t.take(t.rows("selection")) for t in some if t.has_choices) if len(part)]
        for entry, some in tables.items()
    }
    everything = [part for parts in by_entry.values() for part in parts]

    def fit(parts: list[ItemTable]) -> float:
        table = pool(parts)
        return metrics.fit_temperature(table.log_likelihoods, table.labels)

    temperatures = {entry: fit(parts) for entry, parts in by_entry.items() if parts}
    for entry in tables.keys() - temperatures.keys():
        if everything and any(table.has_choices for table in tables[entry]):
            temperatures[entry] = fit(everything)
    return temperatures


def at_temperatures(tables: Tables, temperatures: Mapping[str, float]) -> Tables:
    """Return the scores with log-likelihoods divided by their entry's temperature.

    Entries without a temperature, and tasks without choices, stay as they are.
    """

    def scaled(table: ItemTable, temperature: float) -> ItemTable:
        return replace(table, log_likelihoods=table.log_likelihoods / temperature) if table.has_choices else table

    return {entry: [scaled(table, temperatures.get(entry, 1.0)) for table in some] for entry, some in tables.items()}


def average_probabilities(first: Tables, second: Tables) -> Tables:
    """Return the mean of two models' choice probabilities, as scores; tasks without choices keep the first's."""

    def mean(one: ItemTable, other: ItemTable) -> ItemTable:
        if not one.has_choices:
            return one
        with np.errstate(divide="ignore"):
            return replace(one, log_likelihoods=np.log((one.probabilities + other.probabilities) / 2.0))

    return {
        entry: [mean(one, other) for one, other in zip(some, second[entry], strict=True)]
        for entry, some in first.items()
    }


def _has_choices(tables: Tables) -> bool:
    return any(table.has_choices for some in tables.values() for table in some)


def _of_choices(table: ItemTable, metric: Metric) -> bool:
    """Return whether the metric is computed from the choices' scores, and is not one of the task's own metrics."""
    return table.has_choices and metric.name not in table.values


def _of_probabilities(table: ItemTable, metric: Metric) -> bool:
    """Return whether the metric is computed from the choices' probabilities alone, and is not one of the task's own."""
    return metric.of_probabilities and metric.name not in table.values
