"""Storage of optuna studies, in a journal file that workers share or in a database (`database.py`)."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages.journal import JournalFileBackend
from typing_extensions import override

from mergekit_calib.pareto import Direction
from mergekit_calib.recipe import Axis
from mergekit_calib.search.database import PatientStorage
from mergekit_calib.storage.locks import file_lock
from mergekit_calib.storage.set_aside import set_aside

_STEP_TOLERANCE = 1e-8  # the distance from a step, in steps, within which optuna accepts a number


def open_study(log: Path | str, name: str, directions: Sequence[Direction]) -> optuna.Study:
    """Open a study, or create it if it does not exist.

    A journal that cannot be read is set aside; the search then fills a new one from the item scores.

    Args:
        log: optuna's journal, or the URL of a database.
        name: the study's name.
        directions: (n_objectives,) `maximize` or `minimize`.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if isinstance(log, str):
        return _create(log, name, directions)
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _create(log, name, directions)
    except OSError:
        raise
    except Exception as problem:  # optuna does not say what a damaged journal leads to
        set_aside(log, f"cannot be read ({type(problem).__name__})", "a new one is filled from the item scores")
        return _create(log, name, directions)


def emptied(study: optuna.Study, log: Path | str) -> optuna.Study:
    """Delete the study, and return a new one with the same name and directions."""
    directions: list[Direction] = ["maximize" if d.name == "MAXIMIZE" else "minimize" for d in study.directions]
    optuna.delete_study(study_name=study.study_name, storage=_storage(log))
    return _create(log, study.study_name, directions)


def distribution(axis: Axis) -> BaseDistribution:
    """Return optuna's distribution of an axis: numeric for ranges and evenly spaced numbers, otherwise categorical."""
    if axis.values is None:
        low, high = axis.numbers
        return FloatDistribution(low, high)
    values, numbers = axis.values, axis.numbers
    if len(numbers) == len(values) > 1:
        steps = np.diff(np.array(numbers, dtype=float))
        if (steps > 0).all() and np.allclose(steps, steps[0], rtol=1e-9):
            stepped = _stepped(float(numbers[0]), float(numbers[-1]), round(float(steps[0]), 10))
            if _has_all(stepped, numbers):
                return stepped
    return CategoricalDistribution(values)


def _stepped(low: float, high: float, step: float) -> FloatDistribution:
    """Return a distribution with steps, without optuna's warning that it lowers a `high` that no step meets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FloatDistribution(low, high, step=step)


def _has_all(stepped: FloatDistribution, numbers: Sequence[float]) -> bool:
    """Return whether optuna accepts every number as one of the steps."""
    assert stepped.step is not None
    steps = (np.array(numbers, dtype=float) - stepped.low) / stepped.step
    return stepped.high >= numbers[-1] and bool((np.abs(steps - np.round(steps)) < _STEP_TOLERANCE).all())


def _storage(log: Path | str) -> optuna.storages.BaseStorage:
    if isinstance(log, str):
        return optuna.storages.get_storage(PatientStorage(log))
    return optuna.storages.JournalStorage(_Journal(log))


class _Journal(JournalFileBackend):
    """A journal in which a line that was not written to its end, as on a full disk, does not spoil the next one.

    Optuna's own lock files outlive a killed process by half a minute; the lock here ends with its process.

    Args:
        log: the file.
    """

    def __init__(self, log: Path) -> None:
        self._lines = log
        self._file_lock = file_lock(log.with_name(f".{log.name}.lock"))
        super().__init__(str(log), lock_obj=self._file_lock)  # type: ignore[arg-type]

    @override
    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with self._file_lock.acquire():
            _cut_unfinished_line(self._lines)
            super().append_logs(logs)


def _cut_unfinished_line(log: Path) -> None:
    with log.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if size and file.read(1) != b"\n":
            file.seek(0)
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
            logging.getLogger(__name__).info("%s: an unfinished line of %d bytes was cut", log, size - whole)


def _create(log: Path | str, name: str, directions: Sequence[Direction]) -> optuna.Study:
    return optuna.create_study(storage=_storage(log), study_name=name, directions=directions, load_if_exists=True)
