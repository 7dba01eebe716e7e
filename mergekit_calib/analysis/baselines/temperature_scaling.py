"""Temperature scaling of a model's scores: temperatures fitted to labels, or without labels to another model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from mergekit_calib import metrics
from mergekit_calib.items.pooled_items import same_items
from mergekit_calib.items.scopes import Part
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable, Split, pool


def fit_temperatures(tables: Tables, split: Split = "selection") -> dict[str, float]:
    """Fit a temperature to each suite entry, on its items with choices in a split.

    Each entry has its own, since log-likelihoods differ in scale between tasks (choices are letters, or sentences). One
    temperature for all would be a weaker baseline, which merging would beat too easily. An entry without items in the
    split has the temperature fitted to all other entries together.

    Args:
        tables: the scores of the model.
        split: the items to fit on.

    Returns:
        Entry → temperature, for the entries with choices.
    """

    def fit(parts: list[Part]) -> float:
        table = pool([part for _, part in parts])
        return metrics.fit_temperature(table.log_likelihoods, table.labels)

    return _by_entry(tables, split, fit)


def fit_temperatures_without_labels(tables: Tables, reference: Tables, split: Split = "selection") -> dict[str, float]:
    """Fit a temperature to each suite entry, so that a model is as confident as another where the two agree.

    It uses the same items as `fit_temperatures`, but none of their labels: `metrics.fit_temperature_to_model` (DACA,
    arXiv 2505.16690).

    Args:
        tables: the scores of the model.
        reference: the scores of a calibrated model, such as the one before alignment, on the same items.
        split: the items to fit on.

    Returns:
        Entry → temperature, for the entries with choices.
    """

    def fit(parts: list[Part]) -> float:
        table = pool([part for _, part in parts])
        return metrics.fit_temperature_to_model(table.log_likelihoods, same_items(reference, parts).log_likelihoods)

    return _by_entry(tables, split, fit)


def _by_entry(tables: Tables, split: Split, fit: Callable[[list[Part]], float]) -> dict[str, float]:
    by_entry: dict[str, list[Part]] = {
        entry: [((entry, t.task), part) for t in some if t.has_choices and len(part := t.take(t.rows(split)))]
        for entry, some in tables.items()
    }
    everything = [part for parts in by_entry.values() for part in parts]
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
