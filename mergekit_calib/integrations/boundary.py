"""The boundary of every command: whatever stops it becomes one line and an exit status.

Functions that other programs call (`run_sweep`, mergekit's `run_merge`) raise; only commands are run inside it.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from types import FrameType

import click

from mergekit_calib import stopping
from mergekit_calib.errors import CalibError, one_line
from mergekit_calib.report.text.safe_text import on_one_line
from mergekit_calib.stopping import Stopped
from mergekit_calib.storage.failures import folder_error

_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")
_LONGEST = 240  # characters of an unknown exception's own message
_LOG = "_mergekit_calib_log"  # the attribute of an exception that names the file with its traceback


@contextmanager
def boundary() -> Iterator[None]:
    """Run a command inside this context: what it raises becomes one line on standard error and an exit status.

    - A `CalibError` and errors of the file system: their message; exit status 1.
    - Ctrl-C, SIGTERM and SIGHUP: exit status 130, 143 and 129. A second signal ends the process at once.
    - Anything else: its name and message, and the file that holds the traceback; exit status 1.

    Raises:
        click.ClickException: to be shown by click, which runs the command.
        SystemExit: the process was asked to stop.
    """
    with _signals_as_exceptions():
        try:
            yield
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click shows them, and ends quietly if nobody reads what is printed
        except CalibError as problem:
            raise click.ClickException(on_one_line(str(problem))) from problem
        except KeyboardInterrupt as problem:
            sys.exit(128 + (problem.number if isinstance(problem, Stopped) else signal.SIGINT))
        except Exception as problem:
            raise click.ClickException(on_one_line(explain(problem))) from problem


def explain(problem: Exception) -> str:
    """Return one line on an exception that no part of the program expected, and keep its traceback in a file."""
    if known := folder_error(problem, "this folder"):
        return str(known)
    log = log_of(problem) or write_log(problem)
    if _is_out_of_memory(problem):
        return (
            f"memory ran out: free some, or take smaller models or a smaller dtype; the same command goes on{_in(log)}"
        )
    name, text = type(problem).__name__, one_line(str(problem), _LONGEST)
    return f"unexpected {name}{': ' if text else ''}{text.rstrip('.')}. Please report it{_tracker()}{_in(log)}"


def write_log(problem: BaseException, before: str = "") -> Path | None:
    """Write a traceback to a new file in the folder for temporary files, and return it; None if that fails.

    Args:
        problem: the exception.
        before: what was logged before it was raised.
    """
    trace = "".join(traceback.format_exception(type(problem), problem, problem.__traceback__))
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    try:
        descriptor, name = tempfile.mkstemp(prefix="mergekit-calib-", suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(f"{before}{stamp} {' '.join(sys.argv)}\n{trace}")
    except OSError:
        return None
    remember_log(problem, Path(name))
    return Path(name)


def remember_log(problem: BaseException, log: Path) -> None:
    """Note on an exception that its traceback is in the file `log`."""
    with suppress(AttributeError, TypeError):  # exceptions with slots
        setattr(problem, _LOG, log)


def log_of(problem: BaseException) -> Path | None:
    """Return the file that holds the exception's traceback; None if there is none yet."""
    log = getattr(problem, _LOG, None)
    return log if isinstance(log, Path) else None


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """Raise `Stopped` at the first signal that asks the process to stop; end it at the second.

    Signals that are ignored, as SIGHUP is under `nohup`, stay ignored. Only the main thread can do this.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: handler
        for name in _STOPPING
        if (number := getattr(signal, name, None)) is not None
        and (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
    }

    def stop(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, _end_at_once)
        stopping.ask(number)

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        stopping.forget()
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    if sys.__stdout__ is not None and sys.__stdout__.isatty():
        os.write(sys.__stdout__.fileno(), b"\x1b[?25h\n")  # the live view hides the cursor
    os._exit(128 + number)


def _is_out_of_memory(problem: BaseException) -> bool:
    # By name, since torch may not be imported.
    is_torchs = type(problem).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(problem)
    # safetensors raises an error of its own, with the system's text.
    return isinstance(problem, MemoryError) or is_torchs or "Cannot allocate memory" in str(problem)


def _in(log: Path | None) -> str:
    return f" (its traceback is in {log})" if log else ""


def _tracker() -> str:
    """Return where problems are reported, from the installed package's metadata; empty if it names no place."""
    try:
        urls = metadata.metadata("mergekit-calib").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return ""
    places = {label.strip().lower(): url.strip() for label, _, url in (line.partition(",") for line in urls)}
    url = places.get("issues") or places.get("repository")
    return f" at {url}" if url else ""
