"""The errors a user can cause, so that hosts can print them without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CalibError(Exception):
    """Something the user can mend; the message says what was found, where, and what would work."""


class RecipeError(CalibError):
    """A mistake in the YAML of a sweep.

    Args:
        key: the path of the offending key, as in `calibration.axes.lambda`.
        problem: what was found and what would work.
        source: the file the YAML came from, where it is known.
    """

    def __init__(self, key: str, problem: str, source: str | None = None) -> None:
        self.key, self.problem, self.source = key, problem, source
        where = f"{source}: {key}" if source else key
        super().__init__(f"{where}: {problem}")


class HostVersionError(CalibError):
    """mergekit or lm-eval does not offer what this version of the plugin relies on."""


def near_names(name: str, known: Iterable[str]) -> str:
    """A clause that offers the known names closest to `name`; empty where none is close."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f" (did you mean {' or '.join(repr(c) for c in close)}?)" if close else ""
