"""A study in a database: whether it can be reached, and a storage that waits while its server restarts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from typing_extensions import override

from mergekit_calib.errors import LostStudyError

_PATIENCE = 120.0  # seconds for which a lost database is tried again
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0  # seconds between two attempts
_LONGEST = 200  # characters of the database's own message

P = ParamSpec("P")
T = TypeVar("T")


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
        return f"the database cannot be reached: {_first_line(problem)}"
    return None


def _patient(method: Callable[P, T]) -> Callable[P, T]:
    """Let a method try again while the database cannot be reached.

    An attempt whose answer was lost may have been carried out. That does no harm: a trial that is made twice belongs to
    no worker and is given up, and a trial that is finished already stays as it is.
    """

    @wraps(method)
    def patient(*args: P.args, **kwargs: P.kwargs) -> T:
        deadline, pause, is_again = time.monotonic() + _PATIENCE, _FIRST_PAUSE, False
        while True:
            try:
                return method(*args, **kwargs)
            except UpdateFinishedTrialError:
                if not is_again:
                    raise
                return True  # type: ignore[return-value]  # as `set_trial_state_values` returns
            except Exception as problem:
                if (lost := _lost_connection(problem)) is None:
                    raise
                if time.monotonic() + pause > deadline:
                    raise LostStudyError(
                        f"calibration.search.storage: the database was lost ({_first_line(lost)}), and did not come "
                        "back; the item scores are kept, and once it is there again, the same command goes on"
                    ) from problem
                logging.getLogger(__name__).warning("the study's database cannot be reached; trying again")
            time.sleep(pause)
            pause, is_again = min(2 * pause, _LONGEST_PAUSE), True

    return patient


class PatientStorage(RDBStorage):
    """Optuna's storage in a database, which waits for a server that restarts, and for a locked file of SQLite.

    Args:
        url: of the database.

    Raises:
        LostStudyError: from every method, if the database stays away.
    """

    @_patient
    @override
    def __init__(self, url: str) -> None:
        super().__init__(url)


# What optuna's `_CachedStorage` calls; it comes between a study and this storage.
for _name in (
    "create_new_study delete_study get_all_studies get_study_directions get_study_id_from_name get_study_name_from_id "
    "get_study_system_attrs get_study_user_attrs get_trial get_trial_id_from_study_id_trial_number set_study_user_attr "
    "set_study_system_attr set_trial_state_values set_trial_system_attr set_trial_user_attr set_trial_param "
    "create_new_trial get_all_trials _create_new_trial _get_trials _set_trial_param"
).split():
    setattr(PatientStorage, _name, _patient(getattr(RDBStorage, _name)))


def _lost_connection(problem: BaseException) -> BaseException | None:
    """Return the database's own error if `problem` comes from a connection that failed, else None."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

    cause = problem.__cause__ if isinstance(problem, StorageInternalError) else problem
    is_lost = isinstance(cause, (OperationalError, InterfaceError))
    is_lost = is_lost or (isinstance(cause, DBAPIError) and cause.connection_invalidated)
    return cause if is_lost else None


def _first_line(problem: Any) -> str:
    """Return the first line of an error of SQLAlchemy; the others hold the statement with its parameters."""
    return (str(problem).splitlines() or [type(problem).__name__])[0][:_LONGEST]
