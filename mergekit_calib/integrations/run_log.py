"""The run log: progress bars, prints, log records and warnings of mergekit, lm-eval and others go to a file.

This relies on two things. Progress bars (tqdm) and log handlers (`logging.StreamHandler`) read `sys.stderr` when they
are made. The stream of a handler that was made earlier can be replaced (`setStream`).
"""

from __future__ import annotations

import io
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from typing_extensions import override

from mergekit_calib.errors import CalibError
from mergekit_calib.integrations.boundary import remember_log, write_log
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier, PointResult
from mergekit_calib.results.names import point_name

_OURS = "mergekit_calib"
_STDERR = 2  # the file descriptor


class RunLog(Progress):
    """Writes everything that is printed or logged while it is open to `out/calibration/run.log`, with the time.

    Nothing is written before the sweep has started, since only then is it known that the folder may be written to.
    Lines are kept until then; if the run ends earlier, with an error that is not the user's mistake, they are written
    to a temporary file, with the traceback. After the start, what native code and child processes write to standard
    error goes to the file too, without the time.

    Args:
        out_path: the sweep's output folder.
        tell: a function that is called with each message that the user should see: errors, and this plugin's warnings.
        verbosity: 0 as above; with 1, the user also sees all messages of level INFO or above; with 2, everything.
    """

    def __init__(self, out_path: str | Path, tell: Callable[[str], None], verbosity: int = 0) -> None:
        self.path = Path(out_path) / "calibration" / "run.log"
        self._tell, self._verbosity = tell, verbosity
        self._file: TextIO = io.StringIO()
        self._stream = _LineStream(self.line)
        self._handler = _Handler(self)
        self._redirected_handlers: list[tuple[logging.StreamHandler[Any], Any]] = []
        self._shown_messages: set[str] = set()
        self._saved_stderr: int | None = None

    @property
    def latest(self) -> str:
        """The current state of the last progress bar; empty if it is complete."""
        return self._stream.partial

    def line(self, text: str) -> None:
        """Write one line, with the time; a line that the disk has no room for is lost."""
        with suppress(OSError):  # whatever matters more than the log reports a full disk
            self._file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def record(self, record: logging.LogRecord, text: str) -> None:
        """Write a log record, and tell the user if its level calls for it."""
        self.line(f"{record.levelname} {record.name}: {text}")
        is_ours = record.name.partition(".")[0] == _OURS
        threshold = {0: logging.ERROR, 1: logging.INFO}.get(self._verbosity, logging.DEBUG)
        if record.levelno >= (min(threshold, logging.WARNING) if is_ours else threshold):
            self.inform(f"{record.levelname.lower()}: {text}" if is_ours else f"{record.name}: {text}")

    def __enter__(self) -> RunLog:
        root = logging.getLogger()
        self._streams = sys.stdout, sys.stderr
        terminals = {*self._streams, sys.__stdout__, sys.__stderr__}
        self._root_level = root.level
        self._showwarning = warnings.showwarning
        for logger in _loggers():
            for handler in logger.handlers:
                if type(handler) is logging.StreamHandler and handler.stream in terminals:
                    self._redirected_handlers.append((handler, handler.setStream(self._stream)))
                    handler.addFilter(_reject)
            if logger is root or not logger.propagate:
                logger.addHandler(self._handler)
        root.setLevel(min(self._root_level, logging.DEBUG if self._verbosity > 1 else logging.INFO))
        warnings.showwarning = self._warn
        sys.stdout = sys.stderr = self._stream
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._saved_stderr is not None:
            os.dup2(self._saved_stderr, _STDERR)
            os.close(self._saved_stderr)
            self._saved_stderr = None
        self._stream.finish(self._streams[1])
        sys.stdout, sys.stderr = self._streams
        warnings.showwarning = self._showwarning
        for handler, stream in self._redirected_handlers:
            handler.setStream(stream)
            handler.removeFilter(_reject)
        self._redirected_handlers.clear()
        for logger in _loggers():
            logger.removeHandler(self._handler)
        logging.getLogger().setLevel(self._root_level)
        if problem is not None:
            self.line("".join(traceback.format_exception(kind, problem, trace)).rstrip())
        is_unknown = isinstance(problem, Exception) and not isinstance(problem, CalibError)
        if not isinstance(self._file, io.StringIO):
            with suppress(OSError):  # lines that the disk had no room for
                self._file.close()
            if problem is not None and is_unknown:
                remember_log(problem, self.path)
        elif problem is not None and is_unknown:
            write_log(problem, self._file.getvalue())

    @override
    def started(self, frontier: Frontier, n_points: int | None) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        early_lines, self._file = self._file, self.path.open("a", encoding="utf-8", errors="replace", buffering=1)
        with suppress(OSError):
            self._file.write(early_lines.getvalue() if isinstance(early_lines, io.StringIO) else "")
        if not self._verbosity:
            with suppress(OSError):  # there is no standard error
                self._saved_stderr = os.dup(_STDERR)
                os.dup2(self._file.fileno(), _STDERR)
        versions = ", ".join(f"{name} {version}" for name, version in frontier.versions.items())
        models = ", ".join(f"{role} {model}" for role, model in frontier.models.items())
        self.line(f"process {os.getpid()}: {models}; {versions}")

    @override
    def of_worker(self, number: int) -> Progress:
        return _WorkerLines(self, number)

    @override
    def memory_estimated(self, memory: str) -> None:
        self.line(f"peak memory: {memory}")

    @override
    def folder_noted(self, text: str) -> None:
        self.line(text)

    @override
    def point_started(self, point_id: str) -> None:
        self.line(f"{point_name(point_id)}: merging and scoring")

    @override
    def point_finished(self, point: PointResult, frontier: Frontier) -> None:
        seconds = ", ".join(f"{stage} {spent:.1f} s" for stage, spent in point.seconds.items())
        seconds = "reused" if point.reused else seconds
        self.line(f"{point.name}: {point.status}{f': {point.reason}' if point.reason else ''} {seconds}".rstrip())

    @override
    def finished(self, frontier: Frontier) -> None:
        self.line(f"chosen: {frontier.selected.name if frontier.selected else 'nothing'}")

    def _warn(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        self.line(f"{category.__name__} {filename}:{lineno}: {message}")
        if self._verbosity or _OURS in Path(filename).parts:
            self.inform(f"warning: {message}")

    def inform(self, text: str) -> None:
        """Show the user each message once, since the same message often comes for every point."""
        if text not in self._shown_messages:
            self._shown_messages.add(text)
            self._tell(text)


class _WorkerLines(Progress):
    """Writes what one worker of several does to the run log.

    Args:
        log: the log.
        number: the worker's number.
    """

    def __init__(self, log: RunLog, number: int) -> None:
        self._log, self._name = log, f"worker {number}"

    @override
    def point_started(self, point_id: str) -> None:
        self._log.line(f"{point_name(point_id)}: merging and scoring ({self._name})")

    @override
    def concluding(self) -> None:
        self._log.line(f"{self._name} has ended")


class _Handler(logging.Handler):
    """Passes log records to the run log."""

    def __init__(self, log: RunLog) -> None:
        super().__init__()
        self._log = log

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
            if record.exc_info:
                self._log.line(logging.Formatter().formatException(record.exc_info))
            self._log.record(record, text)
        except Exception:
            self.handleError(record)


class _LineStream(io.TextIOBase):
    """Passes on whole lines; of a line that is drawn repeatedly, as a progress bar is, only the last state.

    Args:
        write_line: a function that is called with each line.

    Attributes:
        partial: the current line, which is not complete.
    """

    encoding = "utf-8"

    def __init__(self, write_line: Callable[[str], None]) -> None:
        self._write_line = write_line
        self.partial = ""
        self._next_stream: TextIO | None = None

    @override
    def write(self, text: str) -> int:
        if self._next_stream is not None:
            return self._next_stream.write(text)
        *lines, rest = (self.partial + text).split("\n")
        for line in lines:
            if shown := _last_drawn(line):
                self._write_line(shown)
        self.partial = _last_drawn(rest)
        return len(text)

    def finish(self, next_stream: TextIO) -> None:
        """Pass on the last line, and write to `next_stream` from now on, for code that still uses this stream."""
        if self.partial:
            self._write_line(self.partial)
        self.partial, self._next_stream = "", next_stream

    @override
    def flush(self) -> None:
        if self._next_stream is not None:
            self._next_stream.flush()

    @override
    def writable(self) -> bool:
        return True

    @override
    def isatty(self) -> bool:
        return False


def _last_drawn(line: str) -> str:
    """Return what a terminal would show of a line in which carriage returns draw over earlier text."""
    return next((part for part in reversed(line.rstrip().split("\r")) if part.strip()), "")


def _reject(record: logging.LogRecord) -> bool:
    """Reject every record: a filter for handlers that would repeat what the run log's handler writes."""
    return False


def _loggers() -> list[logging.Logger]:
    """Return the root logger and every other logger."""
    named = logging.Logger.manager.loggerDict.values()
    return [logging.getLogger(), *(logger for logger in named if isinstance(logger, logging.Logger))]
