"""Reading the result of a sweep from its output folder, with errors that a user can act on."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from mergekit_calib.errors import CalibError
from mergekit_calib.results.frontier import Frontier

_AGAIN = "run the sweep's command again, which writes it from the item scores"
_LONGEST = 150  # characters of a reason


def load_sweep(path: str | Path) -> Frontier:
    """Read the sweep in an output folder, or in a `frontier.json`.

    Args:
        path: the folder or the file.

    Raises:
        CalibError: the folder holds no sweep, or it cannot be read.
    """
    path = Path(path)
    file = path / "calibration" / "frontier.json" if path.is_dir() else path
    try:
        return Frontier.load(path)
    except FileNotFoundError:
        calibration = path / "calibration"
        if calibration.is_dir() and any((calibration / name).exists() for name in ("items", "sweep.yml")):
            raise CalibError(f"{file} is missing: {_AGAIN}") from None
        raise CalibError(
            f"{path} holds no sweep: there is no calibration/frontier.json; give the output folder of a sweep"
        ) from None
    except ValidationError as problem:
        raise CalibError(f"{file} cannot be read: {_first_problem(problem)}; {_AGAIN}") from problem
    except OSError as problem:
        raise CalibError(f"{file} cannot be read: {problem.strerror or problem}; {_AGAIN}") from problem
    except (ValueError, RecursionError) as problem:
        raise CalibError(f"{file} cannot be read: it is no JSON in UTF-8; {_AGAIN}") from problem


def _first_problem(problem: ValidationError) -> str:
    """Return what is wrong in a few words; pydantic's own text has several lines and the whole file's beginning."""
    error = problem.errors(include_url=False, include_context=False)[0]
    if error["type"] == "json_invalid":
        return "it is damaged or empty (no JSON)"
    key = ".".join(map(str, error["loc"]))
    if key == "schema_version" and isinstance(found := error["input"], int | str):
        return f"it is of schema version {str(found)[:20]}, which this version of mergekit-calib does not know"
    says = f"{key}: {error['msg']}" if key else error["msg"].removeprefix("Value error, ")
    return says if len(says) <= _LONGEST else f"{says[:_LONGEST]}…"
