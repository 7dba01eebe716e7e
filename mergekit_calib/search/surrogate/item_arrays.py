"""The numbers of item tables as arrays, one row for each model, and predicted rows as item tables again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ItemArrays:
    """The item scores of several models on the same documents.

    Only entries that are finite for every model are in the arrays: not the padding, and no log-likelihood of −inf.

    Attributes:
        tables: (n_models,) the models' item tables.
        log_likelihoods: (n_models, n_log_likelihoods) of every choice of every item, in nats.
        values: (n_models, n_values) the tasks' own numbers of every item, such as diversity or a vote's confidence.
    """

    tables: Sequence[Tables]
    log_likelihoods: FloatArray
    values: FloatArray

    @classmethod
    def of(cls, tables: Sequence[Tables]) -> ItemArrays:
        """Return the arrays of models' item tables.

        Args:
            tables: at least one model's.

        Raises:
            CalibError: the models were scored on different documents.
        """
        first = _documents(tables[0])
        if any(_documents(other) != first for other in tables[1:]):
            raise CalibError("the points were scored on different documents, so none can be predicted from the others")
        of_choices = np.stack([_flat(each, _log_likelihoods) for each in tables])
        own = np.stack([_flat(each, _values) for each in tables])
        return cls(
            tables,
            of_choices[:, np.isfinite(of_choices).all(axis=0)],
            own[:, np.isfinite(own).all(axis=0)],
        )

    def predicted(self, log_likelihoods: FloatArray, values: FloatArray, nearest: int) -> Tables:
        """Return the item tables of a predicted model, without generated texts.

        Args:
            log_likelihoods: (n_log_likelihoods,) its log-likelihoods, in nats.
            values: (n_values,) its tasks' own numbers.
            nearest: the model whose scores it has where the arrays have none.
        """
        of_choices = self._filled(_log_likelihoods, log_likelihoods, nearest)
        own = self._filled(_values, values, nearest)
        at_choice = at_value = 0
        result: Tables = {}
        for entry, some in self.tables[nearest].items():
            for table in some:
                shape = table.log_likelihoods.shape
                size, n_values = table.log_likelihoods.size, len(table) * len(table.values)
                rows = own[at_value : at_value + n_values].reshape(len(table.values), len(table))
                result.setdefault(entry, []).append(
                    replace(
                        table,
                        log_likelihoods=of_choices[at_choice : at_choice + size].reshape(shape),
                        values=dict(zip(sorted(table.values), rows, strict=True)),
                        generations=None,
                    )
                )
                at_choice, at_value = at_choice + size, at_value + n_values
        return result

    def _filled(self, part: Callable[[ItemTable], FloatArray], row: FloatArray, nearest: int) -> FloatArray:
        """Return a predicted row with the entries of the nearest model where the arrays have none."""
        filled: FloatArray = _flat(self.tables[nearest], part).copy()
        filled[self._finite[part]] = row
        return filled

    @cached_property
    def _finite(self) -> dict[Callable[[ItemTable], FloatArray], NDArray[np.bool_]]:
        """Part of a table → which of its entries are in the arrays."""
        finite: dict[Callable[[ItemTable], FloatArray], NDArray[np.bool_]] = {}
        for part in (_log_likelihoods, _values):
            finite[part] = np.all(np.isfinite(np.stack([_flat(each, part) for each in self.tables])), axis=0)
        return finite


def _log_likelihoods(table: ItemTable) -> FloatArray:
    return table.log_likelihoods.ravel()


def _values(table: ItemTable) -> FloatArray:
    names = sorted(table.values)
    return np.concatenate([table.values[name] for name in names]) if names else np.empty(0)


def _flat(tables: Tables, part: Callable[[ItemTable], FloatArray]) -> FloatArray:
    arrays = [part(table) for some in tables.values() for table in some]
    return np.concatenate(arrays) if arrays else np.empty(0)


def _documents(tables: Mapping[str, Sequence[ItemTable]]) -> list[tuple[str, str, tuple[str, ...], list[str]]]:
    """Return what must agree between models: entries, tasks, the names of values, and the documents."""
    return [
        (entry, table.task, tuple(sorted(table.values)), table.doc_hashes)
        for entry, some in tables.items()
        for table in some
    ]
