"""Locks between processes: one that a worker waits for, and claims of points, which show that a worker is alive.

`exclusive` is filelock's `FileLock`. Claims and the lock that the workers of a session share are `flock` calls of our
own, since filelock does not offer what they need:

- a shared lock that its holder can try to make exclusive, to find out whether it is the only worker (filelock's
  `ReadWriteLock` refuses to change its mode, and is an SQLite database, which network file systems may not support);
- a locked file that holds the machine's name and a time of change, so that a worker on another machine, which may not
  see the lock itself, can tell a living holder from a dead one.

All of them end with the process that holds them, however it ends.

Some file systems have no locks (Lustre mounted without `-o flock`, some NFS). There one worker at a time can use a
folder: it holds a lease (`leases.py`), and nothing else is locked.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from filelock import FileLock

from mergekit_calib.storage.leases import DEAD_AFTER, HEARTBEAT, give_up_lease, keep_lease, take_lease

try:
    import fcntl
except ImportError:  # Windows: one worker at a time there
    fcntl = None  # type: ignore[assignment]

_POLL = 0.01  # seconds between attempts to take a lock that another process holds
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}  # what `flock` says where there are none


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait for the lock of the file `path`, and hold it; the file and its folder are created if they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(path).acquire(poll_interval=_POLL):
        yield


def file_lock(path: Path) -> FileLock | NoLock:
    """Return a lock of the file `path`, whose folder exists; one that does nothing if the file system has no locks.

    Raises:
        OSError: the file cannot be made or opened.
    """
    if fcntl is None:
        return FileLock(path)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError as problem:
            if problem.errno in _NO_LOCKS:
                return NoLock()
            raise
    return FileLock(path)


class NoLock:
    """Stands for a lock where there are none; the worker that uses the folder is the only one."""

    def acquire(self, poll_interval: float = _POLL) -> NoLock:
        """Do nothing."""
        return self

    def release(self) -> None:
        """Do nothing."""

    def __enter__(self) -> NoLock:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Claims:
    """The points that workers are scoring, each by its content key.

    On one machine, a claim whose lock is free belongs to a dead worker. A shared folder may not carry locks from one
    machine to another, so a worker on another machine counts as dead only after two minutes without a heartbeat.

    Hold a lock file that all workers use (see `exclusive`) while you call `take` or `release`.

    Args:
        folder: where the locked files are, on a file system that all workers share.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: dict[str, IO[str]] = {}
        self._closed = threading.Event()
        self._heartbeats = threading.Thread(target=self._send_heartbeats, daemon=True)

    def __enter__(self) -> Claims:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._heartbeats.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        for key in list(self._held):
            self.release(key)

    def take(self, key: str) -> bool:
        """Claim a point, and return whether that succeeded; it fails if a living worker has the point."""
        if self.is_held(key):
            return False
        handle = self._path(key).open("a+")
        if not _is_free(handle):
            handle.close()
            return False
        handle.seek(0)
        handle.truncate()
        handle.write(_this_machine())
        handle.flush()
        os.utime(handle.name)
        self._held[key] = handle
        return True

    def release(self, key: str) -> None:
        """Give up a claim of this worker, whether or not the point was scored."""
        with self._held.pop(key):
            self._path(key).unlink(missing_ok=True)  # while it is locked; the next claim makes a new file

    def is_held(self, key: str) -> bool:
        """Return whether a living worker, this one or another, is scoring the point."""
        if key in self._held:
            return True
        try:
            handle = self._path(key).open("r+")
        except FileNotFoundError:
            return False
        with handle:
            if not _is_free(handle):
                return True
            is_from_another_machine = handle.read() not in ("", _this_machine())
            return is_from_another_machine and time.time() - os.stat(handle.name).st_mtime < DEAD_AFTER

    def n_held(self, prefix: str) -> int:
        """Return how many claims whose key begins with `prefix` living workers hold, this one included."""
        keys = [path.name.removesuffix(".claim") for path in self.folder.glob(f"{prefix}*.claim")]
        return sum(map(self.is_held, keys))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.claim"

    def _send_heartbeats(self) -> None:
        while not self._closed.wait(HEARTBEAT):
            for handle in list(self._held.values()):
                try:
                    os.utime(handle.name)
                except OSError:  # the folder cannot be reached for a moment; the next heartbeat may reach it
                    continue


def share_lock(handle: IO[str]) -> None:
    """Hold the lock of an open file together with others; wait while another process holds it exclusively.

    An exclusive lock of this process becomes a shared one. On a file system without locks, the process takes a lease
    or keeps the one that it has.

    Raises:
        CalibError: there are no locks, and another process has the lease.
    """
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_SH)
    except OSError as problem:
        if problem.errno not in _NO_LOCKS:
            raise
        keep_lease(Path(handle.name))


def try_lock(handle: IO[str]) -> bool:
    """Lock an open file exclusively, and return whether that succeeded; it fails if another process has a lock.

    A shared lock of this process becomes an exclusive one. If that fails, the shared lock is lost. On a file system
    without locks, a lease takes the place of both; `unlock` gives it up.
    """
    try:
        return _flock(handle)
    except OSError as problem:
        if problem.errno not in _NO_LOCKS:
            raise
        return take_lease(Path(handle.name))


def unlock(handle: IO[str]) -> None:
    """Give up the lock of an open file, or the lease that this process has instead."""
    if not give_up_lease(Path(handle.name)) and fcntl is not None:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)


def _flock(handle: IO[str]) -> bool:
    """Lock an open file exclusively, and return whether that succeeded.

    Raises:
        OSError: the system refuses for another reason than that another process has a lock.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # some file systems say EACCES
        return False
    return True


def _is_free(handle: IO[str]) -> bool:
    """Lock the file of a claim, and return whether no other process has it; where there are no locks, none has."""
    try:
        return _flock(handle)
    except OSError as problem:
        if problem.errno not in _NO_LOCKS:
            raise
        return True


def _this_machine() -> str:
    return socket.gethostname()
