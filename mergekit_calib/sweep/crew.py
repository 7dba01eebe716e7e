"""The interface of a crew: workers in processes of their own that score the points of a sweep for its coordinator."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

from mergekit_calib.results.events import Progress


@dataclass(frozen=True)
class Ended:
    """A worker is done with a point.

    Attributes:
        point: the point's id.
        reason: why the point cannot be scored; None if its scores are stored.
    """

    point: str
    reason: str | None = None


class Crew(Protocol):
    """Workers that share the points of a sweep through its folder.

    Attributes:
        size: the number of workers.
        scores_here: whether they score on this machine; otherwise they ask others, such as the nodes of a cluster.
    """

    size: int
    scores_here: bool

    def work(self, streams: bool, progress: Progress) -> Generator[Ended | None, None, None]:
        """Start the workers, and yield what they do until all of them have ended; stop them if the generator is closed.

        Args:
            streams: whether the workers read the parents for each point, instead of keeping them in memory.
            progress: `progress.of_worker(n)` receives what worker n does.

        Yields:
            Each point that a worker is done with, and from time to time None.

        Raises:
            CalibError: a mistake that stops every worker, or all of them died.
        """
