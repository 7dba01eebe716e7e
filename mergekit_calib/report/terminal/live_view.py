"""The live view of a running sweep: the table so far, the point being scored, and the progress of the sweep."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.control import Control
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.spinner import Spinner
from rich.text import Text

from mergekit_calib.report.tables.rows import frontier_table
from mergekit_calib.report.terminal.points_table import PointsTable
from mergekit_calib.report.terminal.time_left import Pace, PaceOfSeveral, duration
from mergekit_calib.report.terminal.worker_lanes import WorkerLanes, share_of_point
from mergekit_calib.report.text import formatting
from mergekit_calib.results.frontier import Frontier

_WIDEST = 100
_REFRESHES = 5  # per second
_LONG_IDLE = 3.0  # after so many seconds without a point, the view says what it is waiting for


class LiveView:
    """The state of the live view, which the sweep's events change and a thread draws.

    Attributes:
        doing: what is being done while the sweep is being prepared.
        latest: gives a line to show below it.
        pace: the estimate of the time left.
        frontier: the result so far; None while the sweep is being prepared.
        n_points: how many points there will be, if that is known.
        n_finished: how many points are done.
        point: the name of the point being scored.
        entry: the task being scored, how many of its items are done, and how many it has.
        lanes: the workers, if other processes score the points; `point` and `entry` are not used then.
        concluding: whether all points are scored.
    """

    def __init__(self) -> None:
        self.doing = "reading models and tasks"
        self.latest: Callable[[], str] = lambda: ""
        self._spinner = Spinner("dots")
        self._lock = threading.Lock()
        self.pace = Pace()
        self.frontier: Frontier | None = None
        self.n_points: int | None = None
        self.n_finished = 0
        self.point: str | None = None
        self.entry: tuple[str, int, int] | None = None
        self.lanes = WorkerLanes()
        self.concluding = False
        self._table: tuple[int, PointsTable] | None = None

    def begin_worker(self, number: int) -> None:
        """Show a worker, which is another process that is being started."""
        if not len(self.lanes):
            self.pace = PaceOfSeveral()
        self.lanes.begin(number)

    def changed(self) -> None:
        """Discard the table, so that it is made again from the changed frontier."""
        with self._lock:
            self._table = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = min(options.max_width, _WIDEST), options.size.height
        below = [*self._below(width, height)]
        frontier = self.frontier
        if frontier is not None and frontier.points and (room := height - len(below) - 6) > 0:
            yield Text()
            yield self._points(frontier, room)
        yield Text()
        yield from below[: max(1, height - 2)]

    def _points(self, frontier: Frontier, most: int) -> PointsTable:
        with self._lock:
            if self._table is None or self._table[0] != most:
                source = frontier_table(frontier)
                self._table = most, PointsTable(source, len(frontier.objectives), most, caption=False)
            return self._table[1]

    def _below(self, width: int, height: int) -> Iterator[Text | _Bar]:
        """Yield the lines below the table: what is being done, and how much of the point and of the sweep is done."""
        frame = self._spinner.render(time.monotonic())
        assert isinstance(frame, Text)
        if self.frontier is None:
            yield _spread(Text.assemble(frame, " ", self.doing), [self._clock()], width)
            if latest := " ".join(self.latest().split()):
                yield Text(latest, style="dim", no_wrap=True, overflow="ellipsis")
            return
        if self.concluding:
            yield _spread(Text.assemble(frame, " computing the results and writing the chosen model"), [""], width)
        elif len(self.lanes):
            yield from self._of_workers(frame, width, max(1, height // 3))
        elif self.point is None or self.pace.idle > _LONG_IDLE:
            waiting = " choosing the next point, or waiting for other workers"
            waiting = waiting if self.pace.idle > _LONG_IDLE else ""
            yield _spread(Text.assemble(frame, waiting), [""], width)
            yield _Bar(0.0, width)
        elif self.entry is None:
            yield _spread(Text.assemble(frame, " ", (self.point, "bold"), " merging"), [""], width)
            yield _Bar(0.0, width)
        else:
            name, done, total = self.entry
            share = done / total if total else 0.0
            counts = [f"{done:,} of {total:,}", formatting.percent(round(share, 2)), ""]
            yield _spread(Text.assemble(frame, " ", (self.point, "bold"), " ", name), counts, width)
            yield _Bar(share, width)
        done_points, total_points = self.n_finished, self.n_points
        if total_points is None:
            yield _spread(Text(formatting.counted(done_points, "point")), [self._clock()], width)
            return
        left = self.pace.left(max(0, total_points - done_points), self._share_of_point())
        clock = self._clock()
        tail = [clock, ""]
        if left is not None and not self.concluding:
            tail = [f"{clock} so far, about {duration(left)} left", f"about {duration(left)} left", *tail]
        yield _spread(Text(f"{done_points} of {formatting.counted(total_points, 'point')}"), tail, width)
        yield _Bar((done_points + self._share_of_point()) / max(total_points, 1), width)

    def _of_workers(self, frame: Text, width: int, most: int) -> Iterator[Text]:
        """Yield a line for each worker, at most `most`."""
        for name, doing, counts in self.lanes.lines(most):
            yield _spread(Text.assemble(frame, " ", (name, "bold"), "  " if name else "", doing), [counts], width)

    def _share_of_point(self) -> float:
        """Return how much of the point being scored is done, or of several such points together."""
        if self.frontier is None:
            return 0.0
        items = {entry.name: entry.n_items for entry in self.frontier.suite}
        if len(self.lanes):
            return self.lanes.share(items)
        return share_of_point(self.entry, items) if self.pace.running and self.entry is not None else 0.0

    def _clock(self) -> str:
        return duration(self.pace.elapsed)


class ResizingLive(Live):
    """A live display that clears the screen when the window changes its size.

    Terminals rewrap the lines on the screen differently, so the position of the old view is then unknown.

    Args:
        view: what to draw.
        console: where to draw it.
    """

    def __init__(self, view: LiveView, console: Console) -> None:
        super().__init__(
            view,
            console=console,
            transient=True,
            refresh_per_second=_REFRESHES,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._size = console.size

    def refresh(self) -> None:
        """Draw the view, on an empty screen if the window's size has changed."""
        size = self.console.size
        if size != self._size:
            self._size = size
            self.console.control(Control.home(), Control.clear())
        super().refresh()


class _Bar:
    """A progress bar that ends its line, which rich's does not."""

    def __init__(self, share: float, width: int) -> None:
        self._bar = ProgressBar(total=1.0, completed=share, width=width, complete_style="cyan", finished_style="cyan")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._bar
        yield Segment.line()


def _spread(left: Text, right: list[str], width: int) -> Text:
    """Return a line with `left` on the left, and on the right the first of `right` that fits."""
    for text in right:
        space = width - cell_len(left.plain) - cell_len(text)
        if space >= 2 and text:
            line = Text.assemble(left, " " * space, (text, "dim"))
            break
    else:
        line = left.copy()
        line.truncate(width, overflow="ellipsis")
    line.no_wrap = True
    return line
