"""The interface of an engine: set a point, give the model that lm-eval scores, release it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from mergekit_calib.recipe import Point
from mergekit_calib.scoring.suite_lm import SuiteLM


@dataclass(frozen=True)
class ReadyPoint:
    """A point's model, ready to be scored.

    Attributes:
        lm: the model, as lm-eval uses it.
        digest: the digest of the weights that `mergekit-yaml` would write for this point.
    """

    lm: SuiteLM
    digest: str


class Engine(Protocol):
    """Holds one model, sets it to one point after another, and scores or generates with it."""

    def at(self, point: Point) -> AbstractContextManager[ReadyPoint]:
        """Make the model of a point for the `with` block; the next point's model overwrites it.

        Args:
            point: the point.

        Raises:
            CalibError: the point's model cannot be made.
        """

    def discard(self) -> None:
        """Free the model: before a merge that is written, or after a failure."""
