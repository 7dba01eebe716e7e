"""Files of item scores that are given another name, because another version's content keys had other parts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mergekit_calib.items.item_files import UnreadableItemsError, read_items, write_items


def refile(path: Path, key: str, new_key: str, content: Mapping[str, Any]) -> bool:
    """File item scores under another content key, and remove the old file; return whether that was done.

    The new file has the age of the old one, because a study is rebuilt in the order of the files. If there is a file
    under the new key already, it is kept. A damaged file is left as it is.

    Args:
        path: the file.
        key: its content key, which is in its name.
        new_key: the key that it gets.
        content: facts that replace those in the file: what the new key is made from.
    """
    try:
        facts, rows = read_items(path, key)
    except (UnreadableItemsError, OSError):
        return False
    before, after = path.name.rsplit(key, 1)
    refiled = path.with_name(f"{before}{new_key}{after}")
    if not refiled.exists():
        write_items(refiled, new_key, rows, {**facts, **content})
        times = path.stat()
        os.utime(refiled, ns=(times.st_atime_ns, times.st_mtime_ns))
    path.unlink(missing_ok=True)
    return True
