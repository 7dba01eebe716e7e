"""Errors that a user can correct; commands print them as one line without a traceback."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class CalibError(Exception):
    """Something that the user can correct; the message says what was found, where, and what would work."""


class RecipeError(CalibError):
    """A mistake in the YAML of a sweep.

    Args:
        key: the path of the wrong key, as in `calibration.axes.lambda`.
        problem: what was found and what would work.
        source: the file that the YAML came from, if it is known.
    """

    def __init__(self, key: str, problem: str, source: str | None = None) -> None:
        self.key, self.problem, self.source = key, problem, source
        where = f"{source}: {key}" if source else key
        super().__init__(f"{where}: {problem}")


class HostVersionError(CalibError):
    """The installed mergekit or lm-eval lacks something that this version of the plugin relies on."""


def near_names(name: str, known: Iterable[str]) -> str:
    """Return a clause that offers the known names closest to `name`; empty if none is close."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f" (did you mean {' or '.join(repr(c) for c in close)}?)" if close else ""


def option_problems(error: ValidationError, known: Iterable[str] = ()) -> list[str]:
    """Return one line for each problem that pydantic found in the options of a rule, a strategy or an axis.

    Args:
        error: pydantic's error.
        known: the names of the valid options, to suggest for one that is not valid.
    """
    names = sorted(known)
    problems = []
    for one in error.errors(include_url=False):
        # "[key]" is pydantic's mark of a mapping's key, which the path names already.
        key = ".".join(str(part) for part in one["loc"] if part != "[key]")
        if one["type"] == "extra_forbidden":
            options = f"; the options are {', '.join(names)}" if names else "; there are no options"
            problems.append(f"{key!r} is not an option{near_names(key, names)}{options}")
        elif one["type"] == "missing":
            problems.append(f"{key} is missing")
        else:
            message = one["msg"].removeprefix("Value error, ")
            message = re.sub(r"a valid dictionary( or instance of \w+)?", "a mapping", message)
            message = message[:1].lower() + message[1:] if message.startswith("Input ") else message
            value = "" if repr(one["input"]) in message else f" is {one['input']!r}"
            problems.append(f"{key}{value}: {message}" if key else message)
    return problems
