"""The hosts' own voice during a run, kept out of the terminal: bars, prints, log records and warnings go to a file.

Relied on: loggers and bars look `sys.stderr` up when they are made (tqdm, `logging.StreamHandler`), and handlers made
before can be told of another stream (`setStream`).
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

from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier, PointResult
from mergekit_calib.results.names import point_name

_OURS = "mergekit_calib"
_STDERR = 2


class RunLog(Progress):
    """While it is open, what the hosts print or log goes to `out/calibration/run.log`, each line with its time.

    Nothing is written before the sweep has started: until then it is not known whether the folder may be written to. A
    run that ends before, with an error that is no mistake of the user, says on standard error what was kept. From the
    start on, what is written to standard error without Python (by tokenizers, CUDA, a process that is started) goes to
    the file too, as it is.

    Args:
        out_path: the sweep's output folder.
        tell: is given what the user must know whatever the hosts' noise: errors, and our own warnings. With
            `verbosity` 1, warnings and information of the hosts as well; with 2, everything.
    """

    def __init__(self, out_path: str | Path, tell: Callable[[str], None], verbosity: int = 0) -> None:
        self.path = Path(out_path) / "calibration" / "run.log"
        self._tell, self._verbosity = tell, verbosity
        self._file: TextIO = io.StringIO()
        self._stream = _LineStream(self.line)
        self._handler = _Handler(self)
        self._moved: list[tuple[logging.StreamHandler[Any], Any]] = []
        self._told: set[str] = set()
        self._terminal: int | None = None

    @property
    def latest(self) -> str:
        """The state of the bar that a host last drew; empty where it is done."""
        return self._stream.partial

    def line(self, text: str) -> None:
        """Keep one line."""
        self._file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def record(self, record: logging.LogRecord, text: str) -> None:
        """Keep a log record, and tell the user of it where that is wanted."""
        self.line(f"{record.levelname} {record.name}: {text}")
        ours = record.name.partition(".")[0] == _OURS
        threshold = {0: logging.ERROR, 1: logging.INFO}.get(self._verbosity, logging.DEBUG)
        if record.levelno >= (min(threshold, logging.WARNING) if ours else threshold):
            self._inform(f"{record.levelname.lower()}: {text}" if ours else f"{record.name}: {text}")

    def __enter__(self) -> RunLog:
        root = logging.getLogger()
        self._streams = sys.stdout, sys.stderr
        terminals = {*self._streams, sys.__stdout__, sys.__stderr__}
        self._level = root.level
        self._show = warnings.showwarning
        for logger in _loggers():
            for handler in logger.handlers:
                if type(handler) is logging.StreamHandler and handler.stream in terminals:
                    self._moved.append((handler, handler.setStream(self._stream)))
                    handler.addFilter(_nothing)
            if logger is root or not logger.propagate:
                logger.addHandler(self._handler)
        root.setLevel(min(self._level, logging.DEBUG if self._verbosity > 1 else logging.INFO))
        warnings.showwarning = self._warn
        sys.stdout = sys.stderr = self._stream  # type: ignore[assignment]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal is not None:
            os.dup2(self._terminal, _STDERR)
            os.close(self._terminal)
            self._terminal = None
        self._stream.finish(self._streams[1])
        sys.stdout, sys.stderr = self._streams
        warnings.showwarning = self._show
        for handler, stream in self._moved:
            handler.setStream(stream)
            handler.removeFilter(_nothing)
        self._moved.clear()
        for logger in _loggers():
            logger.removeHandler(self._handler)
        logging.getLogger().setLevel(self._level)
        if problem is not None:
            self.line("".join(traceback.format_exception(kind, problem, trace)).rstrip())
        if not isinstance(self._file, io.StringIO):
            self._file.close()
        elif problem is not None and isinstance(problem, Exception) and not _is_users(problem):
            sys.stderr.write(self._file.getvalue())

    def started(self, frontier: Frontier, n_points: int | None) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept, self._file = self._file, self.path.open("a", encoding="utf-8", errors="replace", buffering=1)
        self._file.write(kept.getvalue() if isinstance(kept, io.StringIO) else "")
        if not self._verbosity:
            with suppress(OSError):  # there is no standard error
                self._terminal = os.dup(_STDERR)
                os.dup2(self._file.fileno(), _STDERR)
        versions = ", ".join(f"{name} {version}" for name, version in frontier.versions.items())
        self.line(f"process {os.getpid()}: {frontier.models['base']} → {frontier.models['aligned']}; {versions}")

    def will_take(self, memory: str) -> None:
        self.line(f"peak memory: {memory}")

    def point_started(self, point_id: str) -> None:
        self.line(f"{point_name(point_id)}: merging and scoring")

    def point_finished(self, point: PointResult, frontier: Frontier) -> None:
        seconds = ", ".join(f"{stage} {spent:.1f} s" for stage, spent in point.seconds.items())
        self.line(f"{point.name}: {point.status}{f': {point.reason}' if point.reason else ''} {seconds}".rstrip())

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
            self._inform(f"warning: {message}")

    def _inform(self, text: str) -> None:
        """Once each: what is said for one point is often said for all."""
        if text not in self._told:
            self._told.add(text)
            self._tell(text)


class _Handler(logging.Handler):
    def __init__(self, log: RunLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
            if record.exc_info:
                self._log.line(logging.Formatter().formatException(record.exc_info))
            self._log.record(record, text)
        except Exception:
            self.handleError(record)


class _LineStream(io.TextIOBase):
    """Gives on whole lines; of a line that is drawn over again and again, as bars are, only how it ended.

    Attributes:
        partial: the line as it stands.
    """

    encoding = "utf-8"

    def __init__(self, write_line: Callable[[str], None]) -> None:
        self._write_line = write_line
        self.partial = ""
        self._after: TextIO | None = None

    def write(self, text: str) -> int:
        if self._after is not None:
            return self._after.write(text)
        *whole, rest = (self.partial + text).split("\n")
        for line in whole:
            if shown := _last_drawn(line):
                self._write_line(shown)
        self.partial = _last_drawn(rest)
        return len(text)

    def finish(self, after: TextIO) -> None:
        """Give on what is left; whoever holds on to this writes to `after` from now on."""
        if self.partial:
            self._write_line(self.partial)
        self.partial, self._after = "", after

    def flush(self) -> None:
        if self._after is not None:
            self._after.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False


def _last_drawn(line: str) -> str:
    return next((part for part in reversed(line.rstrip().split("\r")) if part.strip()), "")


def _nothing(record: logging.LogRecord) -> bool:
    """A filter for handlers that would say what ours says already."""
    return False


def _loggers() -> list[logging.Logger]:
    known = logging.Logger.manager.loggerDict.values()
    return [logging.getLogger(), *(logger for logger in known if isinstance(logger, logging.Logger))]


def _is_users(problem: Exception) -> bool:
    from mergekit_calib.errors import CalibError

    return isinstance(problem, CalibError)
