"""The events of a running sweep, for listeners that show or log its progress."""

from __future__ import annotations

from typing_extensions import override

from mergekit_calib.results.frontier import Frontier, PointResult


class Progress:
    """A listener that receives the events of a sweep, in this order, and ignores them; subclasses override methods."""

    def started(self, frontier: Frontier, n_points: int | None) -> None:
        """Handle the start: recipe, models and tasks were checked, and the first point is next.

        Args:
            frontier: the result so far, without points.
            n_points: how many points will be scored at most, parents included; None if only the search will tell.
        """

    def of_worker(self, number: int) -> Progress:
        """Return the listener of one worker of several, for `point_started`, `scoring`, and `concluding` as it ends.

        It is called again if the worker is started again. The other events come to this listener.

        Args:
            number: the worker's number, from 1.
        """
        return self

    def memory_estimated(self, memory: str) -> None:
        """Handle the estimate of the memory that the sweep will take, before any model is loaded.

        Args:
            memory: the peak, as "about 1 GB".
        """

    def folder_noted(self, text: str) -> None:
        """Handle a sentence on what the output folder held, and what becomes of it."""

    def point_started(self, point_id: str) -> None:
        """Handle the start of a point, before it is merged."""

    def helping(self, point_id: str) -> None:
        """Handle the start of a share of another worker's point."""

    def scoring(self, entry: str, done: int, total: int) -> None:
        """Handle progress within a point: `done` of the `total` requests of suite entry `entry` are answered."""

    def point_finished(self, point: PointResult, frontier: Frontier) -> None:
        """Handle the end of a point, which was scored, was read from disk, or failed.

        Args:
            point: the point.
            frontier: the result so far, with this point.
        """

    def concluding(self) -> None:
        """Handle the end of the scoring; the result, the chosen model and the report come next."""

    def finished(self, frontier: Frontier) -> None:
        """Handle the end: the chosen model and the report are written."""


class ProgressGroup(Progress):
    """A listener that passes each event on to several others, in their order.

    Args:
        listeners: the listeners that receive the events.
    """

    def __init__(self, *listeners: Progress) -> None:
        self.listeners = listeners

    @override
    def started(self, frontier: Frontier, n_points: int | None) -> None:
        for listener in self.listeners:
            listener.started(frontier, n_points)

    @override
    def of_worker(self, number: int) -> Progress:
        return ProgressGroup(*[listener.of_worker(number) for listener in self.listeners])

    @override
    def memory_estimated(self, memory: str) -> None:
        for listener in self.listeners:
            listener.memory_estimated(memory)

    @override
    def folder_noted(self, text: str) -> None:
        for listener in self.listeners:
            listener.folder_noted(text)

    @override
    def point_started(self, point_id: str) -> None:
        for listener in self.listeners:
            listener.point_started(point_id)

    @override
    def helping(self, point_id: str) -> None:
        for listener in self.listeners:
            listener.helping(point_id)

    @override
    def scoring(self, entry: str, done: int, total: int) -> None:
        for listener in self.listeners:
            listener.scoring(entry, done, total)

    @override
    def point_finished(self, point: PointResult, frontier: Frontier) -> None:
        for listener in self.listeners:
            listener.point_finished(point, frontier)

    @override
    def concluding(self) -> None:
        for listener in self.listeners:
            listener.concluding()

    @override
    def finished(self, frontier: Frontier) -> None:
        for listener in self.listeners:
            listener.finished(frontier)
