"""Who is on which point: a claim is a locked file, which the system lets go of however its process ends."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

try:
    import fcntl
except ImportError:  # Windows: one worker at a time there
    fcntl = None  # type: ignore[assignment]

_BEAT = 15.0  # seconds between signs of life
_SILENT = 120.0  # seconds without one after which a worker on another machine counts as dead


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait for the lock of the file `path`, and hold it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class Claims:
    """The points that workers are on, each by its content key.

    On one machine a lock that can be had means that its holder is gone. A shared folder may not carry locks from one
    machine to another, so there the holder must also have been silent for two minutes.

    Claims are taken and given up by one worker at a time: whoever does holds a lock common to all.

    Args:
        folder: where the locked files are; on file systems that all workers share.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: dict[str, IO[str]] = {}
        self._done = threading.Event()
        self._pulse = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Claims:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._pulse.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        for key in list(self._held):
            self.release(key)

    def take(self, key: str) -> bool:
        """Claim a point; False where a living worker has it."""
        if self.is_held(key):
            return False
        handle = self._path(key).open("a+")
        if not try_lock(handle):
            handle.close()
            return False
        handle.seek(0)
        handle.truncate()
        handle.write(_here())
        handle.flush()
        os.utime(handle.name)
        self._held[key] = handle
        return True

    def release(self, key: str) -> None:
        """Give a point up, scored or not."""
        with self._held.pop(key):
            self._path(key).unlink(missing_ok=True)  # while it is locked: who claims next makes a new one

    def is_held(self, key: str) -> bool:
        """Whether a living worker, this one or another, is on the point."""
        if key in self._held:
            return True
        try:
            handle = self._path(key).open("r+")
        except FileNotFoundError:
            return False
        with handle:
            if not try_lock(handle):
                return True
            elsewhere = handle.read() not in ("", _here())
            return elsewhere and time.time() - os.stat(handle.name).st_mtime < _SILENT

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.claim"

    def _beat(self) -> None:
        while not self._done.wait(_BEAT):
            for handle in list(self._held.values()):
                try:
                    os.utime(handle.name)
                except OSError:  # the folder is away for a moment; the next beat may reach it
                    continue


def share_lock(handle: IO[str]) -> None:
    """Hold a file's lock together with others, in place of alone if so far alone; wait while one has it alone."""
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_SH)


def try_lock(handle: IO[str]) -> bool:
    """Have a file's lock alone, if no one else has it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _here() -> str:
    return socket.gethostname()
