"""A small disk (tmpfs) that fills up while a sweep writes to it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults.kills import Kill, differences
from faults.warm_sweeps import WarmSweeps, result, whole_points


@contextmanager
def small_disk(folder: Path, megabytes: int = 8) -> Iterator[Path]:
    """Mount a small disk.

    Args:
        folder: a new folder, where the disk is mounted.
        megabytes: its size.

    Raises:
        PermissionError: the system does not allow that.
    """
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False) if shutil.which("mount") else None
    if mounted is None or mounted.returncode != 0:
        raise PermissionError(mounted.stderr.strip() if mounted else "there is no command mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def outcome(sweeps: WarmSweeps, event: Kill, disk: Path, undisturbed: dict[str, Any]) -> tuple[bool, list[str]]:
    """Let the disk be full from an event of a run on, free it, and run again.

    Args:
        sweeps: start runs.
        event: the event of Python's audit hook.
        disk: the disk.
        undisturbed: the `result` of a run on a disk with room.

    Returns:
        Whether the run ended for that reason, and what is wrong.
    """
    out, filler = disk / "out", disk / "filler"
    first = sweeps.run(out, fill=event.number, **{"with": str(filler)})
    filler.unlink()
    wrong = []
    if first.status == 1 and not (len(first.lines) == 1 and "No space left" in first.lines[0]):
        wrong.append(f"not one clear line: {first.says[-2000:]}")
    if first.status not in (0, 1):
        wrong.append(f"ended with {first.status}: {first.says[-2000:]}")
    whole = whole_points(out)
    again = sweeps.run(out)
    if again.status != 0:
        wrong.append(f"the next run ended with {again.status}: {again.says[-2000:]}")
    else:
        wrong += differences(result(out), undisturbed)
    if twice := sorted(whole & set(again.scored)):
        wrong.append(f"scored again: {', '.join(twice)}")
    shutil.rmtree(out)
    return first.status == 1, wrong
