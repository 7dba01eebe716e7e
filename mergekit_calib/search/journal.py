"""Storage of optuna studies, in a journal file that workers share or in a database."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages.journal import JournalFileBackend

from mergekit_calib.pareto import Direction
from mergekit_calib.recipe import Axis

_STEP_TOLERANCE = 1e-8  # the distance from a step, in steps, within which optuna accepts a number


def storage_problem(url: str) -> str | None:
    """Return why the database at `url` cannot hold a study; None if it can."""
    # Here, because few sweeps have a database, and it takes a third of a second.
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    try:
        engine = create_engine(make_url(url))
        engine.connect().close()
        engine.dispose()
    except NoSuchModuleError as problem:
        return f"{problem}; sqlite, postgresql and mysql are supported"
    except ArgumentError:
        return "is no database URL; it takes the form sqlite:////folder/study.db or postgresql://user@host/name"
    except ImportError as problem:
        driver = f"install the database's driver, {problem.name}" if problem.name else "install the database's driver"
        return f"{problem}: {driver}"
    except SQLAlchemyError as problem:
        return f"the database cannot be reached: {str(problem).splitlines()[0]}"
    return None


def open_study(log: Path | str, name: str, directions: Sequence[Direction]) -> optuna.Study:
    """Open a study, or create it if it does not exist.

    A journal that cannot be read, for example because the disk was full, is renamed; the search then fills a new one
    from the item scores.

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
    except (ValueError, KeyError, AssertionError):
        log.replace(log.with_name(f"{log.name}.unreadable"))
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
        return optuna.storages.get_storage(log)
    # Optuna's own lock files outlive a killed process by half a minute; this lock ends with its process.
    lock = FileLock(log.with_name(f".{log.name}.lock"))
    return optuna.storages.JournalStorage(JournalFileBackend(str(log), lock_obj=lock))  # type: ignore[arg-type]


def _create(log: Path | str, name: str, directions: Sequence[Direction]) -> optuna.Study:
    return optuna.create_study(storage=_storage(log), study_name=name, directions=directions, load_if_exists=True)
