"""What the coordinator scores points with: an engine and the suite, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from mergekit_calib.engines.engine import Engine
from mergekit_calib.items.store import Tables
from mergekit_calib.recipe import Point
from mergekit_calib.scoring.requests import EntryProgress
from mergekit_calib.scoring.suite import Suite
from mergekit_calib.search.racing import Documents


@dataclass(frozen=True)
class ScoredOnDemand:
    """A point's model, and a function that scores it.

    Attributes:
        digest: the digest of its weights.
        score: scores the model on documents (None for all), and tells a listener how far it is.
    """

    digest: str
    score: Callable[[Documents | None, EntryProgress | None], Tables]


class PointScorer(Protocol):
    """Makes and scores the models of points, in this process or elsewhere."""

    def at(self, point: Point) -> AbstractContextManager[ScoredOnDemand]:
        """Make the model of a point for the `with` block; the next point's model overwrites it.

        Args:
            point: the point.

        Raises:
            CalibError: the point's model cannot be made.
            ScorerLostError: a machine is gone; the point can be scored elsewhere or later.
            ScorerRefusedError: the run has to stop.
        """

    def discard(self) -> None:
        """Free the model: before a merge that is written, or after a failure."""


class LocalScorer:
    """Scores points in this process.

    Args:
        engine: holds the model.
        suite: the tasks.
    """

    def __init__(self, engine: Engine, suite: Suite) -> None:
        self._engine, self._suite = engine, suite

    @contextmanager
    def at(self, point: Point) -> Iterator[ScoredOnDemand]:
        """Make the model of a point for the `with` block; the next point's model overwrites it.

        Args:
            point: the point.

        Raises:
            CalibError: the point's model cannot be made.
        """
        with self._engine.at(point) as ready:
            yield ScoredOnDemand(
                ready.digest, lambda documents, progress: self._suite.score(ready.lm, progress, documents)
            )

    def discard(self) -> None:
        """Free the engine's model."""
        self._engine.discard()
