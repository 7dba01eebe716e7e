"""Atomic writes: a file is written under another name in its folder, synced to disk, and renamed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Write a file so that a reader sees the old file or the new one, never a part.

    A new file has ordinary permissions, and a replaced one keeps its own.

    Args:
        path: the file; it is replaced if it exists, and its folder is created if it is missing.
        data: the file's contents.

    Raises:
        OSError: the disk is full or the folder is not writable; an existing file is unchanged.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
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


def _mode(path: Path) -> int:
    """Return the permissions of the file at `path`, or of an ordinary new file.

    `mkstemp` makes files that only their owner can read, which would hide a model from those who share the folder.
    """
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
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
