"""The estimate of the time that a sweep still takes, from the points that are done."""

from __future__ import annotations

import time
from collections.abc import Callable

from typing_extensions import override


class Pace:
    """Estimates the time left from the time that points took.

    Points that were read from disk do not count; points that other workers finish in the meantime do.

    Args:
        clock: gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._began = clock, clock()
        self._point_began: float | None = None
        self._ended = self._began
        self._spent = 0.0
        self._n = 0
        self._has_started = False

    def point_started(self) -> None:
        """Record that a point is being scored here."""
        self._point_began, self._has_started = self._clock(), True

    def point_finished(self) -> None:
        """Record that a point is done, here or by another worker.

        Before any point was started here, it was read from disk.
        """
        if self._point_began is not None:
            self._spent += self._clock() - self._point_began
        self._n += self._has_started
        self._point_began, self._ended = None, self._clock()

    @property
    def elapsed(self) -> float:
        """Return the seconds since the start."""
        return self._clock() - self._began

    @property
    def running(self) -> bool:
        """Return whether a point is being scored here."""
        return self._point_began is not None

    @property
    def idle(self) -> float:
        """Return the seconds since a point was last done; 0 while one is being scored here."""
        return 0.0 if self._point_began is not None else self._clock() - self._ended

    def left(self, n_points: int, share: float = 0.0) -> float | None:
        """Return the seconds until `n_points` more points are done, or None while there is no estimate.

        Until the first point is done, its `share` is what the estimate is made from.

        Args:
            n_points: how many points are not done yet, including the one being scored.
            share: how much of the point being scored is done, 0 to 1.
        """
        running = 0.0 if self._point_began is None else self._clock() - self._point_began
        if self._n:
            each = self._spent / self._n
            first = each * (1.0 - share) if share else max(0.0, each - running)
            return each * (n_points - 1) + first if n_points else 0.0
        if share > 0.05 and running > 2.0:
            return running / share * (n_points - share)
        return None


class PaceOfSeveral(Pace):
    """Estimates the time left where several workers score points at the same time.

    Args:
        clock: gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._first_began: float | None = None

    @override
    def point_started(self) -> None:
        if self._first_began is None:
            self._first_began = self._clock()

    @override
    def point_finished(self) -> None:
        self._n += self._first_began is not None

    @property
    @override
    def idle(self) -> float:
        return 0.0

    @override
    def left(self, n_points: int, share: float = 0.0) -> float | None:
        """Return the seconds until `n_points` more points are done, or None while there is no estimate.

        Args:
            n_points: how many points are not done yet, including those being scored.
            share: how many points' worth is done of those being scored.
        """
        done = self._n + share
        spent = 0.0 if self._first_began is None else self._clock() - self._first_began
        if done > 0.05 and spent > 2.0:
            return spent / done * max(0.0, n_points - share)
        return None


def duration(seconds: float) -> str:
    """Return a duration as `0:07`, `12:30`, `3:04:00` or `2 d 3 h`."""
    whole = int(seconds + 0.5)
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
