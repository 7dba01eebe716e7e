"""What a running sweep tells whoever watches. This one listens and says nothing; `report/console.py` prints."""

from __future__ import annotations

from mergekit_calib.results.frontier import Frontier, PointResult


class Progress:
    """The events of a sweep, in order. Subclass it and override what matters."""

    def started(self, frontier: Frontier, n_points: int | None) -> None:
        """Everything was checked; `n_points` will be scored, or as many as the search will tell."""

    def will_take(self, memory: str) -> None:
        """How much memory the models will take, in words, before any is loaded."""

    def point_started(self, point_id: str) -> None:
        """A point is being merged."""

    def scoring(self, entry: str, done: int, total: int) -> None:
        """`done` of `total` requests of suite entry `entry` were run."""

    def point_finished(self, point: PointResult, frontier: Frontier) -> None:
        """A point was scored, found on disk, or failed."""

    def concluding(self) -> None:
        """All points are scored: the numbers are worked out, and the chosen model and the report written."""

    def finished(self, frontier: Frontier) -> None:
        """The chosen model and the report are written."""


class Several(Progress):
    """Tells each of `listeners` in turn."""

    def __init__(self, *listeners: Progress) -> None:
        self.listeners = listeners

    def started(self, frontier: Frontier, n_points: int | None) -> None:
        for listener in self.listeners:
            listener.started(frontier, n_points)

    def will_take(self, memory: str) -> None:
        for listener in self.listeners:
            listener.will_take(memory)

    def point_started(self, point_id: str) -> None:
        for listener in self.listeners:
            listener.point_started(point_id)

    def scoring(self, entry: str, done: int, total: int) -> None:
        for listener in self.listeners:
            listener.scoring(entry, done, total)

    def point_finished(self, point: PointResult, frontier: Frontier) -> None:
        for listener in self.listeners:
            listener.point_finished(point, frontier)

    def concluding(self) -> None:
        for listener in self.listeners:
            listener.concluding()

    def finished(self, frontier: Frontier) -> None:
        for listener in self.listeners:
            listener.finished(frontier)
