"""Errors that a user can correct; commands print them as one line without a traceback."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

_LONGEST_SOURCE, _LONGEST_KEY, _LONGEST_MESSAGE = 150, 100, 490  # characters; a message is one line under 500
_LONGEST_NAME = 100  # of a name that is compared with others
_HARDLY_MISSPELT = 0.8  # difflib's ratio of names of which one is likely meant as the other
_SHORTEST_STEM = 3  # `accuracy` begins with `acc`


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
        self.key, self.problem, self.source = one_line(key, _LONGEST_KEY), problem, source
        where = f"{one_line(source, _LONGEST_SOURCE)}: {self.key}" if source else self.key
        super().__init__(f"{where}: {one_line(problem, _LONGEST_MESSAGE - len(where))}")


class LostStudyError(CalibError):
    """The database that holds the study cannot be reached any more; no point has failed."""


class ScorerLostError(CalibError):
    """What scores points is gone for now, through no fault of the point: it is given back, for any worker to take.

    Args:
        message: what is gone.
        for_long: whether this worker need not wait any longer.
    """

    def __init__(self, message: str, for_long: bool = False) -> None:
        super().__init__(message)
        self.for_long = for_long


class ScorerRefusedError(CalibError):
    """What scores points may not be used: the run stops, and no point has failed."""


class HostVersionError(CalibError):
    """The installed mergekit or lm-eval lacks something that this version of the plugin relies on."""


def near_names(name: str, known: Iterable[str]) -> str:
    """Return a clause that offers the known names closest to `name`; empty if none is close."""
    known = [k for k in known if len(k) <= _LONGEST_NAME]
    stems = [k for k in known if len(k) >= _SHORTEST_STEM and name.casefold().startswith(k.casefold())]
    misspelt = closest(name, known, _HARDLY_MISSPELT)
    close = list(dict.fromkeys([*misspelt, *sorted(stems, key=len, reverse=True), *closest(name, known)]))[:3]
    return f" (did you mean {' or '.join(repr(c) for c in close)}?)" if close else ""


def closest(name: str, known: Iterable[str], likeness: float = 0.6) -> list[str]:
    """Return at most three of the known names that `name` may be a misspelling of, the likeliest first.

    Args:
        name: the name.
        known: the known names.
        likeness: difflib's ratio from which names are alike.
    """
    if len(name) > _LONGEST_NAME:  # of long names, difflib takes seconds
        return []
    folded: dict[str, list[str]] = {}
    for each in known:
        folded.setdefault(each.casefold(), []).append(each)
    close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=likeness)
    return [each for key in close for each in folded[key]][:3]


def shown(value: object, longest: int = 80) -> str:
    """Return a value as a message shows it: its `repr` on one line, with the middle left out if it is long."""
    try:
        return one_line(repr(value), longest)
    except (ValueError, RecursionError):  # an integer of thousands of digits; a structure that holds itself
        return f"<{type(value).__name__}>"


def one_line(text: str, longest: int) -> str:
    """Return text as one line of printable characters, with its middle left out if it has more than `longest`."""
    if len(text) > 2 * longest:  # what is left out need not be escaped
        text = f"{text[:longest]} … {text[-longest:]}"
    words = " ".join(text.split())
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
    if len(line) <= longest:
        return line
    end = min(longest // 3, 60)
    return f"{line[: longest - end - 3]} … {line[-end:]}"


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
            value = "" if shown(one["input"]) in message else f" is {shown(one['input'])}"
            problems.append(f"{key}{value}: {message}" if key else message)
    return problems
