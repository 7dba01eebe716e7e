"""One message for what pydantic found wrong in a `calibration:` block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mergekit_calib.errors import RecipeError, closest, near_names, shown
from mergekit_calib.recipe.block import CalibrationBlock

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# Keys that people write for one of the block's, and that difflib does not find.
_MEANT = {
    "tasks": "suite",
    "task": "suite",
    "benchmarks": "suite",
    "evals": "suite",
    "metrics": "objectives",
    "goals": "objectives",
    "rule": "select",
    "selection": "select",
    "strategy": "search",
    "bins": "n_bins",
    "dtype": "model_args",
    "device": "model_args",
}


def block_problem(problems: ValidationError, source: str | None) -> RecipeError:
    """Return the problem that explains the others best: a stray key before the missing one that it may stand for.

    Args:
        problems: pydantic's errors.
        source: the recipe's file, for messages.
    """
    errors = problems.errors(include_url=False)
    stray = [error for error in errors if error["type"] == "extra_forbidden"]
    error = (
        next((each for each in stray if _meant(each)), (stray or errors)[0]) if _is_missing(errors[0]) else errors[0]
    )
    path = "calibration"
    for part in error["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        known = _known(error)
        meant = _meant(error)
        near = f" (did you mean {meant[0]!r}?)" if len(meant) == 1 else near_names(str(error["loc"][-1]), known)
        message = f"is not a key here{near}; known keys: {', '.join(known)}"
    elif error["type"] == "missing":
        message = "is missing"
    elif shown(error["input"]) not in message:
        message = f"{message} (found {shown(error['input'])})"
    return RecipeError(path, message, source)


def _is_missing(error: ErrorDetails) -> bool:
    return error["type"] == "missing"


def _known(error: ErrorDetails) -> list[str]:
    context: dict[str, Any] = error.get("ctx", {})
    return list(context.get("known") or CalibrationBlock.known_keys(error["loc"][:-1]))


def _meant(error: ErrorDetails) -> list[str]:
    """Return the keys that a stray one may stand for."""
    key, known = str(error["loc"][-1]), _known(error)
    meant = _MEANT.get(key.casefold())
    return [meant] if meant in known else closest(key, known)
