"""JSON files of a checkpoint, and short forms of other libraries' errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mergekit_calib.errors import CalibError


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file.

    Args:
        path: the file.

    Raises:
        CalibError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as problem:
        raise CalibError(f"{path} cannot be read: {problem.strerror}") from problem
    except (ValueError, RecursionError) as problem:
        empty = "" if path.stat().st_size else " (the file is empty)"
        raise CalibError(f"{path} is not valid JSON{empty}: {reason_of(problem)}; fetch it again") from problem
    if not isinstance(content, dict):
        raise CalibError(f"{path} holds a {type(content).__name__}; a JSON object is needed")
    return content


def reason_of(problem: BaseException, most: int = 160) -> str:
    """Return the beginning of an exception's message in one line; its type if it has no message."""
    text = " ".join(line.strip() for line in str(problem).strip().split("\n")[:2])
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text or type(problem).__name__
