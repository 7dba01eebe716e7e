"""Failures of the disk and of folders, as errors that a user can act on."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from mergekit_calib.errors import CalibError

# OSErrors of the machine, which would make every point fail. Others concern one model: transformers raises them.
_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_WRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM}
_IN_THE_WAY = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENOTEMPTY}
# safetensors raises an error of its own, with the text of Rust's.
_CODE = re.compile(r"(?:Os \{ code: |os error )(\d+)")
_LONGEST = 200  # characters of a path in a message


def machine_error(problem: BaseException) -> OSError | None:
    """Return the error of the machine (disk full, read-only) that `problem` is or comes from; None if there is none."""
    return next((e for e in _os_errors(problem) if e.errno in _OF_THE_MACHINE), None)


def folder_error(problem: BaseException, folder: str | Path) -> CalibError | None:
    """Return one line that says what the system refused and what would work; None if `problem` is something else.

    Args:
        problem: an error that was raised while files of the folder were read or written.
        folder: the folder, for errors that name no file.
    """
    found = machine_error(problem)
    if found is None and isinstance(problem, OSError) and problem.errno is not None:
        found = problem
    if found is None:
        return None
    where = str(found.filename or folder)
    where = where if len(where) <= _LONGEST else f"…{where[-_LONGEST:]}"
    says = found.strerror or errno.errorcode.get(found.errno or 0, "error")
    if found.errno in _FULL:
        advice = "free some space, and the same command goes on"
    elif found.errno in _NOT_WRITABLE:
        advice = "make it writable, or name another folder; then the same command goes on"
    elif found.errno == errno.ENOENT:
        advice = "it was deleted or moved meanwhile; the same command goes on with what is left"
    elif found.errno in _IN_THE_WAY:
        advice = "move away what is there, and the same command goes on"
    else:
        advice = "once that is mended, the same command goes on"
    return CalibError(f"{where}: {says}: {advice}")


def _os_errors(problem: BaseException | None) -> Iterator[OSError]:
    """Yield the errors of the operating system in a chain of exceptions, the last first."""
    seen = set[int]()
    while problem is not None and id(problem) not in seen:
        seen.add(id(problem))
        if isinstance(problem, OSError) and problem.errno is not None:
            yield problem
        elif type(problem).__name__ == "SafetensorError" and (code := _CODE.search(str(problem))):
            yield OSError(int(code[1]), os.strerror(int(code[1])))
        problem = problem.__cause__ or problem.__context__
