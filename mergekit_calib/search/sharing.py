"""Workers that have no point of their own score shares of another worker's point."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from mergekit_calib.items.store import Tables
from mergekit_calib.recipe import Point
from mergekit_calib.search.shares import Documents, Share, Shares, cut, joined_shares
from mergekit_calib.search.surroundings import Surroundings
from mergekit_calib.storage.locks import Claims

_POLL = 0.1  # seconds between looks at what others have scored


class Sharing:
    """Cuts this worker's point into shares if others are idle, and finds shares of others' points for this worker.

    Args:
        folder: the folder of the shares' files; it need not exist.
        claims: mark points and shares that workers are scoring, and the workers that are idle.
        lock: the lock file under which workers decide.
        n_documents: task → number of documents of a fully scored point, in the suite's order.
        divisible: the tasks whose documents several workers may score apart.
        surroundings: the time and the lock; those of the machine if None.
    """

    def __init__(
        self,
        folder: Path,
        claims: Claims,
        lock: Path,
        n_documents: Mapping[str, int],
        divisible: Collection[str],
        surroundings: Surroundings | None = None,
    ) -> None:
        self._shares, self._claims, self._lock = Shares(folder), claims, lock
        self._surroundings = surroundings or Surroundings()
        self._n_documents = n_documents
        self._divisible = {task: n for task, n in n_documents.items() if task in divisible}
        self._idle = f"idle-{uuid.uuid4().hex[:12]}"
        self._is_idle = False
        self._given_up: set[str] = set()  # keys of shares that this worker failed to score

    def set_idle(self, is_idle: bool) -> None:
        """Tell the other workers whether this one waits for a point; hold the lock."""
        if not self._divisible:
            return
        if is_idle and not self._is_idle:
            self._claims.take(self._idle)
        if self._is_idle and not is_idle:
            self._claims.release(self._idle)
        self._is_idle = is_idle

    def score(self, point: Point, key: str, digest: str, score: Callable[[Documents | None], Tables]) -> Tables:
        """Score this worker's point, with the help of idle workers if there are some.

        Args:
            point: the point, which this worker has claimed.
            key: its content key.
            digest: the digest of its weights.
            score: scores the point on documents; given None, on all.
        """
        shares = [share for share in self._shares.of(point, key) if share.digest == digest]  # of a worker that died
        if not self._divisible:
            return score(None)
        if not shares:
            with self._surroundings.exclusive(self._lock):
                n_workers = 1 + self._claims.n_held("idle-")
            rest = {task: n for task, n in self._n_documents.items() if task not in self._divisible}
            parts = cut(self._divisible, n_workers, rest)
            if len(parts) == 1:
                return score(None)
            shares = self._shares.describe(point, key, digest, parts)
        scored: dict[str, Tables] = {}
        while missing := [share for share in shares if share.key not in scored]:
            own = self._claim(missing)
            if own is not None:
                try:
                    self._shares.save(own, score(own.documents))
                finally:
                    self._release(own)
            elif not (news := {s.key: tables for s in missing if (tables := self._shares.load(s)) is not None}):
                self._surroundings.sleep(_POLL)
            else:
                scored |= news
        return joined_shares([scored[share.key] for share in shares], list(self._n_documents))

    def remove(self, point: Point, key: str) -> None:
        """Remove the shares of a point whose scores are stored as a whole."""
        self._shares.remove(self._shares.of(point, key))

    def next(self, points: Iterable[tuple[str, Point]]) -> Share | None:
        """Claim and return a share of another worker's point; None if there is none. Hold the lock.

        Args:
            points: the content key of each point that others are scoring, and the point.
        """
        for key, point in points:
            for share in reversed(self._shares.of(point, key)):  # the point's own worker begins with the first
                if share.key not in self._given_up and self._is_missing(share) and self._claims.take(share.key):
                    return share
        return None

    def finish(self, share: Share, digest: str, tables: Tables) -> None:
        """Store the scores of a claimed share, and release it.

        Args:
            share: the share.
            digest: the digest of the weights that were scored.
            tables: the scores.

        Raises:
            ValueError: these are not the weights of the share's point.
        """
        if digest != share.digest:
            raise ValueError(f"the weights of {share.point.id} are not those that another worker has scored")
        self._shares.save(share, tables)
        self._release(share)

    def give_up(self, share: Share) -> None:
        """Release a claimed share that this worker cannot score; another worker takes it."""
        self._given_up.add(share.key)
        self._release(share)

    def _claim(self, shares: Iterable[Share]) -> Share | None:
        """Claim one of the shares for this worker; None if each is scored, or another worker has it."""
        with self._surroundings.exclusive(self._lock):
            return next((s for s in shares if self._is_missing(s) and self._claims.take(s.key)), None)

    def _is_missing(self, share: Share) -> bool:
        return not self._claims.is_held(share.key) and self._shares.load(share) is None

    def _release(self, share: Share) -> None:
        with self._surroundings.exclusive(self._lock):
            self._claims.release(share.key)
