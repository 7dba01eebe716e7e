"""Atomic writes: a file is written under another name in its folder, synced to disk, and renamed."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from mergekit_calib.storage.set_aside import make_way

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX, _SUFFIX = ".", ".tmp"
_TEMPORARY = re.compile(r"\.[a-z0-9_]{8}\.tmp")  # the names that `mkstemp` makes


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Write a file so that a reader sees the old file or the new one, never a part.

    A new file has ordinary permissions, and a replaced one keeps its own. A link is replaced, and not followed.

    Args:
        path: the file; it is replaced if it exists, and its folder is created if it is missing. A folder of that name
            is set aside.
        data: the file's contents.

    Raises:
        OSError: the disk is full or the folder is not writable; an existing file is unchanged.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_symlink():
        make_way(path)
    descriptor, temporary = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _locked(file.fileno())  # a sign that the writer is alive, for `remove_leftovers`
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode(path))
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_text_atomic(path: str | Path, text: str) -> None:
    """Write `text` with `write_bytes_atomic`, in UTF-8 and with its line endings as they are."""
    write_bytes_atomic(path, text.encode("utf-8"))


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Remove the temporary files of writers that were killed; those of a living writer are locked.

    Args:
        folders: the folders to look in, without those in them.
    """
    for folder in folders:
        if not folder.is_dir():
            continue
        for path in folder.iterdir():
            if _TEMPORARY.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    if _locked(file.fileno()):
                        path.unlink(missing_ok=True)


def _locked(descriptor: int) -> bool:
    """Lock an open file, and return whether no living writer holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError, AttributeError):
        return False
    except OSError:  # there are no locks here, so no other worker uses the folder (`leases.py`)
        return True
    return True


def _mode(path: Path) -> int:
    """Return the permissions of the file at `path`, or of an ordinary new file.

    `mkstemp` makes files that only their owner can read, which would hide a model from those who share the folder.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        mode = 0
    if stat.S_ISREG(mode):
        return mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def _sync_folder(folder: Path) -> None:
    """Sync a folder, so that a rename in it survives a power cut; do nothing if the system cannot open folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems refuse to sync a folder
        pass
    finally:
        os.close(descriptor)
