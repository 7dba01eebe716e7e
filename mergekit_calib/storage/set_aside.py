"""Put a damaged file out of the way, without deleting it and without following a link."""

from __future__ import annotations

import itertools
import logging
import os
from pathlib import Path

SUFFIX = ".unreadable"


def set_aside(path: Path, found: str, done: str, suffix: str = SUFFIX) -> Path | None:
    """Rename a file, a folder or a link so that another can take its place, and warn in one line.

    A link is renamed itself; what it points to is not touched.

    Args:
        path: what is in the way.
        found: what is wrong with it, as "cannot be read (no Parquet file)".
        done: what happens now, as "its point is scored again".
        suffix: what its name gets.

    Returns:
        Its new path; None if it is gone, because another worker was faster.

    Raises:
        OSError: it cannot be renamed.
    """
    names = (path.with_name(f"{path.name}{suffix}{'' if n == 1 else f'-{n}'}") for n in itertools.count(1))
    kept = next(name for name in names if not os.path.lexists(name))
    try:
        path.rename(kept)
    except FileNotFoundError:
        return None
    logging.getLogger(__name__).warning("%s %s; it is kept as %s, and %s", path, found, kept.name, done)
    return kept


def make_way(path: Path, done: str = "a new file is written") -> None:
    """Set `path` aside if it is anything but a regular file: a folder, or a link, which writes would follow."""
    if path.is_symlink():
        set_aside(path, f"is a link to {os.readlink(path)}", done)
    elif path.exists() and not path.is_file():
        set_aside(path, "is a folder" if path.is_dir() else "is no regular file", done)
