"""What can be had without a new merge: the aligned parent recalibrated, the parents averaged, the choice recalibrated.

Computed from item scores alone. Temperatures are fitted on the selection split; everything is measured on the held-out split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mergekit_calib import metrics
from mergekit_calib.analysis import paired
from mergekit_calib.analysis.estimation import Sampling
from mergekit_calib.analysis.paired import Results
from mergekit_calib.items.metric_registry import Metric
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable, pool
from mergekit_calib.results.findings import Baseline, Objective


def baselines(
    sampling: Sampling,
    objectives: Sequence[Objective],
    tables: Mapping[str, Tables],
    points: Mapping[str, Results],
    parents: Mapping[str, str],
    chosen: str,
    n: Mapping[str, int],
) -> list[Baseline]:
    """The baselines of a sweep, each with its differences to the chosen point and to that with a temperature.

    Args:
        tables: point id → its scores.
        points: point id → its objectives on the held-out split.
        parents: `base` and `aligned` → point id; a baseline that needs one that is missing is left out.
        chosen: the id of the chosen point.
        n: objective name → the number of items.
    """
    found: list[tuple[Baseline, Tables]] = []
    for name in dict.fromkeys(name for name in (parents.get("aligned"), chosen) if name is not None):
        if temperatures := fitted_temperatures(tables[name]):
            label = "aligned" if name == parents.get("aligned") else name
            baseline = Baseline(id=f"{label}+T", kind="temperature", of=[name], temperatures=temperatures)
            found.append((baseline, at_temperatures(tables[name], temperatures)))
    if {"base", "aligned"} <= parents.keys() and _has_choices(tables[chosen]):
        both = [parents["base"], parents["aligned"]]
        baseline = Baseline(id="base&aligned", kind="average", of=both, models_run=2)
        found.insert(1, (baseline, averaged(*(tables[name] for name in both))))

    results: dict[str, Results] = {}
    for baseline, its in found:
        accept = _of_probabilities if baseline.kind == "average" else _of_choices
        measures = sampling.measure(its, ("held_out",), accept)
        baseline.metrics = sampling.estimates(measures, its)
        results[baseline.id] = paired.of_objectives(measures, objectives, "held_out")
    recalibrated = next((b.id for b, _ in found if b.kind == "temperature" and b.of == [chosen]), None)
    compared = {chosen: points[chosen]}
    if recalibrated is not None:
        compared[recalibrated] = results[recalibrated]
    for baseline, _ in found:
        for name, mine in compared.items():
            if name != baseline.id:
                theirs = results[baseline.id]
                baseline.differences[name] = paired.differences(mine, theirs, objectives, sampling.level, n)
    return [baseline for baseline, _ in found]


def fitted_temperatures(tables: Tables) -> dict[str, float]:
    """Suite entry → the temperature fitted on its selection-split items with choices.

    One for each entry, as tasks differ in the scale of their log-likelihoods (a letter's, or a sentence's): one for all
    of them would be a weaker baseline, which merging would beat too easily. An entry that is for the report alone takes
    the temperature of all the others together.
    """
    seen = {
        entry: [part for part in (t.take(t.rows("selection")) for t in some if t.has_choices) if len(part)]
        for entry, some in tables.items()
    }
    everything = [part for parts in seen.values() for part in parts]

    def fitted(parts: list[ItemTable]) -> float:
        table = pool(parts)
        return metrics.fit_temperature(table.log_likelihoods, table.labels)

    found = {entry: fitted(parts) for entry, parts in seen.items() if parts}
    for entry in tables.keys() - found.keys():
        if everything and any(table.has_choices for table in tables[entry]):
            found[entry] = fitted(everything)
    return found


def at_temperatures(tables: Tables, temperatures: Mapping[str, float]) -> Tables:
    """Scores with each entry's log-likelihoods divided by its temperature; what has none, and no choices, as it is."""

    def scaled(table: ItemTable, temperature: float) -> ItemTable:
        return replace(table, log_likelihoods=table.log_likelihoods / temperature) if table.has_choices else table

    return {entry: [scaled(table, temperatures.get(entry, 1.0)) for table in some] for entry, some in tables.items()}


def averaged(first: Tables, second: Tables) -> Tables:
    """Scores whose choice probabilities are the mean of two models'; tasks without choices as the first has them."""

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
    """A task's own metrics are of the model's answers as given: what a temperature does to them is not known."""
    return table.has_choices and metric.name not in table.values


def _of_probabilities(table: ItemTable, metric: Metric) -> bool:
    return metric.of_probabilities and metric.name not in table.values
