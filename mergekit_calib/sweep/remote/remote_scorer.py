"""The driver's side of a worker on a cluster: a `PointScorer` that asks the worker, and asks again if it died."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from mergekit_calib.errors import CalibError, ScorerLostError, ScorerRefusedError
from mergekit_calib.items.store import Tables
from mergekit_calib.recipe import Point
from mergekit_calib.scoring.requests import EntryProgress
from mergekit_calib.search.racing import Documents
from mergekit_calib.sweep.point_scorer import ScoredOnDemand
from mergekit_calib.sweep.remote.node_content import NodeContent
from mergekit_calib.sweep.remote.node_worker import Job

_RETRIES = 2  # of a point whose worker died
_SHORT_WAIT = 5.0  # seconds to wait for a worker that need not answer
_LATER_WAIT = 20.0  # seconds to wait for a place, once it is known that there was none


class WorkerDiedError(CalibError):
    """The worker, or its node, died while it was asked."""


class RemoteFailure(CalibError):
    """An error on a node; subclasses have the name of the error there, for the reasons of failed points."""


@dataclass(frozen=True)
class Life:
    """One life of a worker: it starts anew when it is started again.

    Attributes:
        id: unique.
        node: the node's name, for messages.
    """

    id: str
    node: str


class RemoteWorker(Protocol):
    """A worker on a cluster, which is started again, perhaps on another node, when it dies."""

    def wait(self, seconds: float) -> Life | None:
        """Wait until the worker answers, and return its present life; None if it does not within `seconds`."""

    def ask(self, method: str, *arguments: Any, progress: EntryProgress | None = None) -> Any:
        """Call a method of `NodeWorker`, and return what it returns.

        Args:
            method: the method's name.
            *arguments: its arguments.
            progress: told how far the worker is.

        Raises:
            WorkerDiedError: the worker died before it answered.
            RemoteFailure: the method raised an error.
        """


@dataclass(frozen=True)
class Patience:
    """How long a scorer waits for a worker that has no place.

    Attributes:
        place: seconds until its point is given back to other workers.
        give_up: seconds until the driver's process that asks the worker ends.
    """

    place: float = 60.0
    give_up: float = 900.0


class RemoteScorer:
    """Scores points by a worker on a cluster.

    A point whose worker dies is asked for again when the worker answers again, twice at most. If the worker has no
    place for a while, since a node is gone, the point is given back.

    Args:
        worker: the worker.
        job: the sweep.
        content: what scores depend on, as the driver has it; every node must have the same.
        patience: how long to wait for a worker that has no place.
    """

    def __init__(self, worker: RemoteWorker, job: Job, content: NodeContent, patience: Patience) -> None:
        self._worker, self._job, self._content, self._patience = worker, job, content, patience
        self._life = ""  # for which the worker has prepared the sweep
        self._deaths = Counter[str]()  # by point
        self._lost_since: float | None = None

    @contextmanager
    def at(self, point: Point) -> Iterator[ScoredOnDemand]:
        """Have the model of a point made for the `with` block.

        Args:
            point: the point.

        Raises:
            CalibError: the model cannot be made, or the worker died with it three times.
            ScorerLostError: the worker has no place now.
            ScorerRefusedError: a node has not what the driver has.
        """
        digest = self._ask(point, "make", point)

        def score(documents: Documents | None, progress: EntryProgress | None) -> Tables:
            scored, tables = self._ask(point, "score", point, documents, progress=progress)
            if scored != digest:
                raise CalibError(f"its weights have the digest {scored} on one node and {digest} on another")
            result: Tables = tables
            return result

        yield ScoredOnDemand(digest, score)

    def discard(self) -> None:
        """Free the worker's model, if the worker lives."""
        with suppress(CalibError):
            if self._life and (life := self._worker.wait(_SHORT_WAIT)) and life.id == self._life:
                self._worker.ask("discard")

    def _ask(self, point: Point, method: str, *arguments: Any, progress: EntryProgress | None = None) -> Any:
        while True:
            life = self._wait()
            try:
                self._prepare(life)
                return self._worker.ask(method, *arguments, progress=progress)
            except WorkerDiedError as problem:
                self._deaths[point.id] += 1
                logging.getLogger(__name__).warning("%s: its worker on %s died: %s", point.id, life.node, problem)
                if self._deaths[point.id] > _RETRIES:
                    raise WorkerDiedError(
                        f"its worker died {self._deaths[point.id]} times, last on {life.node}: {problem}"
                    ) from problem

    def _wait(self) -> Life:
        """Wait until the worker answers."""
        patience, first = self._patience, self._lost_since is None
        life = self._worker.wait(patience.place if first else min(patience.place, _LATER_WAIT))
        if life is not None:
            self._lost_since = None
            return life
        now = time.monotonic()
        self._lost_since = self._lost_since or now - patience.place
        seconds = now - self._lost_since
        text = f"no node of the cluster has had room for it for {seconds:.0f} s"
        raise ScorerLostError(text, for_long=seconds >= patience.give_up)

    def _prepare(self, life: Life) -> None:
        """Have the worker prepare the sweep, once in each of its lives, and compare its node with this machine."""
        if life.id == self._life:
            return
        try:
            content = NodeContent(**self._worker.ask("prepare", self._job))
        except RemoteFailure as problem:
            raise ScorerRefusedError(f"{life.node}: {problem}") from problem
        for note in self._content.check(content, life.node):
            logging.getLogger(__name__).warning("%s", note)
        self._life = life.id
