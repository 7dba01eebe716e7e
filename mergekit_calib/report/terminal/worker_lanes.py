"""The lines of the live view that show several workers, one line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mergekit_calib.report.text import formatting


@dataclass
class Lane:
    """What one worker is doing.

    Attributes:
        doing: what it does while it has no point.
        point: the name of its point; None between points.
        entry: the task being scored, how many of its items are done, and how many it has; None while it merges.
        helped: the name of another worker's point that it scores a share of.
    """

    doing: str = "reading models and tasks"
    point: str | None = None
    entry: tuple[str, int, int] | None = None
    helped: str | None = None


class WorkerLanes:
    """The workers of a sweep, by their numbers."""

    def __init__(self) -> None:
        self._lanes: dict[int, Lane] = {}

    def __len__(self) -> int:
        return len(self._lanes)

    def begin(self, number: int) -> None:
        """Show that a worker is being started."""
        self._lanes[number] = Lane()

    def take(self, number: int, point: str) -> None:
        """Show that a worker has begun a point."""
        self._lanes[number] = Lane(point=point)

    def help(self, number: int, point: str) -> None:
        """Show that a worker scores a share of another's point."""
        self._lanes[number] = Lane(f"helping with {point}", helped=point)

    def score(self, number: int, entry: str, done: int, total: int) -> None:
        """Show how far a worker is with a point."""
        self._lanes[number].entry = entry, done, total

    def finish(self, point: str) -> None:
        """Show that those who score a point, if they are known, have none now."""
        for number, lane in self._lanes.items():
            if point in (lane.point, lane.helped):
                self._lanes[number] = Lane("waiting for a point")

    def end(self, number: int) -> None:
        """Show that a worker's process is over."""
        self._lanes[number] = Lane("ended")

    def share(self, items: Mapping[str, int]) -> float:
        """Return how many points' worth is done of the points being scored; `items` is entry → number of items."""
        return sum(share_of_point(lane.entry, items) for lane in [*self._lanes.values()] if lane.entry)

    def lines(self, most: int) -> Iterator[tuple[str, str, str]]:
        """Yield worker and point, what is being done, and how far it is; at most `most` lines."""
        lanes = sorted(self._lanes.items())
        shown = lanes if len(lanes) <= most else lanes[: max(0, most - 1)]
        for number, lane in shown:
            if lane.point is None:
                yield f"{number}", lane.doing, ""
            elif lane.entry is None:
                yield f"{number}  {lane.point}", "merging", ""
            else:
                name, done, total = lane.entry
                counts = f"{done:,} of {total:,}"
                yield f"{number}  {lane.point}", name, counts
        if len(shown) < len(lanes):
            yield "", f"and {formatting.counted(len(lanes) - len(shown), 'more worker')}", ""


def share_of_point(entry: tuple[str, int, int], items: Mapping[str, int]) -> float:
    """Return how much of a point is done, as a share of all items of the suite.

    Args:
        entry: the task being scored, how many of its items are done, and how many it has.
        items: entry → number of items, in the order in which they are scored.
    """
    name, done, total = entry
    before = 0
    for each, n in items.items():
        if each == name:
            break
        before += n
    n_items = sum(items.values())
    now = items.get(name, 0) * (done / total if total else 0.0)
    return min(1.0, (before + now) / n_items) if n_items else 0.0
