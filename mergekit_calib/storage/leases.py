"""Leases: what shows that a folder is in use where the file system has no locks.

A lease is a file that its holder renews (filelock's `SoftFileLease`). It outlives a process that is killed: filelock
takes over from a dead process of the same machine at once, and from one of another machine we do when its heartbeats
have stopped.
"""

from __future__ import annotations

import time
from pathlib import Path

from filelock import SoftFileLease, Timeout

from mergekit_calib.errors import CalibError

HEARTBEAT = 15.0  # seconds between two heartbeats, which renew a file's time of change
DEAD_AFTER = 120.0  # seconds without a heartbeat after which a worker on another machine counts as dead

_held: dict[str, SoftFileLease] = {}  # path of a file → this process's lease of it


def take_lease(path: Path) -> bool:
    """Take or keep the lease of the file `path`, and return whether this process has it now."""
    if str(path) in _held:
        return True
    file = path.with_name(f"{path.name}.lease")
    lease = SoftFileLease(file, lease_duration=DEAD_AFTER, heartbeat_interval=HEARTBEAT, thread_local=False)
    for _ in range(2):
        try:
            lease.acquire(timeout=0)
        except Timeout:
            if not _is_stale(file):
                return False
            file.unlink(missing_ok=True)
        else:
            _held[str(path)] = lease
            return True
    return False


def keep_lease(path: Path) -> None:
    """Take or keep the lease of the file `path`.

    Raises:
        CalibError: another process has it.
    """
    if not take_lease(path):
        raise CalibError(
            f"{path.parent}: this file system has no file locks (flock), so only one process at a time can use the "
            "folder, and another one does, or was killed on another machine less than "
            f"{DEAD_AFTER / 60:.0f} minutes ago; wait for it, or name a folder on another file system"
        )


def give_up_lease(path: Path) -> bool:
    """Give up the lease of the file `path`, and return whether this process had it."""
    lease = _held.pop(str(path), None)
    if lease is not None:
        lease.release()
    return lease is not None


def _is_stale(file: Path) -> bool:
    try:
        return time.time() - file.stat().st_mtime > DEAD_AFTER
    except FileNotFoundError:
        return True
