"""Reading the result of a sweep from its output folder, with errors that a user can act on."""

from __future__ import annotations

from pathlib import Path

from mergekit_calib.errors import CalibError
from mergekit_calib.results.frontier import Frontier


def load_sweep(path: str | Path) -> Frontier:
    """Read the sweep in an output folder.

    Args:
        path: the folder.

    Raises:
        CalibError: the folder holds no sweep, or it cannot be read.
    """
    try:
        return Frontier.load(path)
    except FileNotFoundError:
        raise CalibError(
            f"{path} holds no sweep: there is no calibration/frontier.json; give the output folder of a sweep"
        ) from None
    except (OSError, ValueError) as problem:
        raise CalibError(f"{path}: calibration/frontier.json cannot be read: {problem}") from problem
