"""The progress of a sweep on standard output: a live view in a terminal, else one line for each event."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from mergekit_calib.report.terminal.live_view import LiveView, ResizingLive
from mergekit_calib.report.terminal.points_table import console_table
from mergekit_calib.report.terminal.safe_console import SafeConsole
from mergekit_calib.report.terminal.time_left import duration
from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.answer import answer_lines
from mergekit_calib.report.text.baseline_texts import forecast
from mergekit_calib.report.text.served_texts import served_statements
from mergekit_calib.report.text.statements import statements
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier, PointResult
from mergekit_calib.results.names import point_name

_WIDEST = 100
_FILE_WIDTH = 120  # of output that does not go to a terminal


class ConsoleProgress(Progress):
    """Shows the progress of a sweep. Use it as a context manager, so that the live view ends with the run.

    Args:
        console: where to print; standard output, if None.
        quiet: print only failures and what the user must read.
        out_path: the output folder, which the last line names.
        verbose: print every statement before the answer.
        card: whether a model card is written, which the last line names.

    Attributes:
        view: what the live view shows.
        live: the live view in a terminal while it runs, else None.
    """

    def __init__(
        self,
        console: Console | None = None,
        quiet: bool = False,
        out_path: str | Path | None = None,
        verbose: bool = False,
        card: bool = True,
    ) -> None:
        self._console = console or _console()
        self._quiet, self._verbose, self._card = quiet, verbose, card
        self._out = None if out_path is None else Path(out_path)
        self.view = LiveView()
        self.live: ResizingLive | None = None
        self._noted: set[str] = set()
        self._n_forecast = 0

    @property
    def _is_live(self) -> bool:
        return self._console.is_terminal and not self._console.is_dumb_terminal and not self._quiet

    def __enter__(self) -> ConsoleProgress:
        if self._is_live and self.live is None:
            self.live = ResizingLive(self.view, self._console)
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def show_latest(self, latest: Callable[[], str]) -> None:
        """Show `latest()`, as the progress of a download, while the sweep is being prepared."""
        self.view.latest = latest

    def preparing(self, doing: str) -> None:
        """Show what is being done before the sweep starts, as `reading models and tasks`."""
        self.view.doing = doing
        if self.live is None:
            self._say(doing[:1].upper() + doing[1:])
        else:
            self.live.refresh()  # now, since imports may keep the thread that draws from running

    def note(self, text: str) -> None:
        """Print a line that the user must read, even if `quiet`."""
        self._say(text, style="yellow", always=True)

    def started(self, frontier: Frontier, n_points: int | None) -> None:
        """Print what will be run, and the notes on it."""
        if self._is_live and self.live is None:
            self.__enter__()
        items = sum(entry.n_items for entry in frontier.suite)
        tasks = ", ".join(entry.name for entry in frontier.suite)
        points = "as many points as the search needs" if n_points is None else formatting.counted(n_points, "point")
        self._say(
            f"{formatting.models_line(frontier)}, {frontier.method}: {points}, {items:,} items of {tasks}",
            style="bold",
        )
        self._notes(frontier)
        self.view.n_points, self.view.frontier = n_points, frontier
        self.view.changed()

    def of_worker(self, number: int) -> Progress:
        """Return a listener that shows one worker of several, which is being started."""
        self.view.begin_worker(number)
        return _WorkerProgress(self, number)

    def memory_estimated(self, memory: str) -> None:
        """Print how much memory the models will take."""
        self._say(f"Peak memory: {memory}.")

    def folder_noted(self, text: str) -> None:
        """Print what is kept of an earlier run, and what is replaced."""
        self._say(text[:1].upper() + text[1:])

    def point_started(self, point_id: str) -> None:
        """Show that a point is being merged."""
        self.view.pace.point_started()
        self.view.entry, self.view.point = None, point_name(point_id)
        self.tell_start(point_id)

    def tell_start(self, point_id: str, of_whom: str = "") -> None:
        """Print that a point is begun, unless a live view shows it; `of_whom` names the worker of several."""
        if self.live is None:
            self._say(f"{point_name(point_id)}: merging and scoring{of_whom}")

    def scoring(self, entry: str, done: int, total: int) -> None:
        """Show how many items of a task are scored."""
        self.view.entry = entry, done, total

    def point_finished(self, point: PointResult, frontier: Frontier) -> None:
        """Show a point's scores, or why it has none."""
        self.view.pace.point_finished()
        self.view.lanes.finish(point.name)
        self.view.n_finished += 1
        self.view.frontier = frontier
        self.view.changed()
        if self.live is None:
            self._say(self._outcome(point, frontier), always=point.status == "failed")
        for blend in frontier.blends[self._n_forecast :]:
            if text := forecast(frontier, blend):
                self._say(text)
        self._n_forecast = len(frontier.blends)

    def concluding(self) -> None:
        """Show that the results are being computed."""
        self.view.concluding = True

    def finished(self, frontier: Frontier) -> None:
        """Print the table and the answer in four lines; before them, with `verbose`, every statement."""
        self._end()
        if self._quiet:
            return
        self._notes(frontier)
        self._console.print(console_table(frontier))
        self._console.print()
        for statement in statements(frontier) if self._verbose else []:
            self._paragraph(statement, mark="•")
        if self._verbose:
            self._console.print()
        for i, line in enumerate(answer_lines(frontier, self._out, self._card)):
            self._paragraph(line, mark="★" if i == 0 else "•", style="" if i else "bold")
        for statement in [] if self._verbose else served_statements(frontier):
            self._paragraph(statement, mark="•")

    def interrupted(self) -> None:
        """Print the table of the points that are kept, and how the sweep goes on."""
        self._end()
        frontier, done, total = self.view.frontier, self.view.n_finished, self.view.n_points
        if frontier is None or not done:
            self.note("Stopped before a point was scored; the same command begins again.")
            return
        if not self._quiet:
            self._console.print(console_table(frontier))
        of = "" if total is None else f" of {total}"
        points = "point" if 1 == done == (total or 1) else "points"
        self.note(f"Stopped: {done}{of} {points} kept; the same command goes on.")

    def _outcome(self, point: PointResult, frontier: Frontier) -> str:
        """Return a point's line, as `λ = 0.4  acc 0.7891  ece 0.0536  3.4 s  (5 of 16; about 0:40 left)`."""
        if point.status != "complete":
            scores = f"{point.status}: {' '.join(formatting.failure_reason(frontier, point).split())}"
        else:
            values = [(o.name, point.estimate(o).value) for o in frontier.objectives]
            scores = "  ".join(f"{name} {formatting.number(value, 4)}" for name, value in values)
            if point.seconds and not point.reused:
                scores += f"  {sum(point.seconds.values()):.1f} s"
        marks: list[str] = [point.role] if point.role and point.role != point.id else []
        marks += ["reused"] if point.reused else []
        marks += [f"same weights as {point_name(point.same_as)}"] if point.same_as else []
        n, total = self.view.n_finished, self.view.n_points
        if total is not None:
            marks.append(f"{n} of {total}")
            left = self.view.pace.left(total - n) if n < total else None
            marks += [f"about {duration(left)} left"] if left is not None else []
        aside = f"  ({'; '.join(marks)})" if marks else ""
        return f"{point.name}  {scores}{aside}"

    def _notes(self, frontier: Frontier) -> None:
        for note in frontier.notes:
            if note not in self._noted:
                self._say(formatting.sentence(frontier, note), style="dim")
            self._noted.add(note)

    def _say(self, line: str, style: str = "", always: bool = False) -> None:
        """Print one event: wrapped in a terminal, else one line with its time."""
        if self._quiet and not always:
            return
        line = " ".join(line.splitlines())
        if self._is_live:
            self._console.print(Text(line, style=style), highlight=False)
        else:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S")
            self._console.print(f"{stamp}  {line}", markup=False, highlight=False, soft_wrap=True)

    def _paragraph(self, text: str, mark: str = "", style: str = "") -> None:
        if not self._is_live:
            self._console.print(f"{mark} {text}".strip(), markup=False, highlight=False, soft_wrap=True)
            return
        grid = Table.grid(padding=(0, 1))
        if mark:
            grid.add_column(width=1)
        grid.add_column()
        grid.add_row(*[Text(cell, style=style) for cell in ([mark, text] if mark else [text])])
        self._console.print(grid, width=min(self._console.width, _WIDEST), highlight=False)

    def _end(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None


class _WorkerProgress(Progress):
    """Shows one worker of several.

    Args:
        console: shows the sweep.
        number: the worker's number.
    """

    def __init__(self, console: ConsoleProgress, number: int) -> None:
        self._console, self._view, self._number = console, console.view, number

    @override
    def point_started(self, point_id: str) -> None:
        self._view.pace.point_started()
        self._view.lanes.take(self._number, point_name(point_id))
        self._console.tell_start(point_id, f" (worker {self._number})")

    @override
    def helping(self, point_id: str) -> None:
        self._view.lanes.help(self._number, point_name(point_id))

    @override
    def scoring(self, entry: str, done: int, total: int) -> None:
        self._view.lanes.score(self._number, entry, done, total)

    @override
    def concluding(self) -> None:
        self._view.lanes.end(self._number)


def _console() -> Console:
    """Return a console on the current standard output; characters that its encoding lacks become question marks."""
    if hasattr(sys.stdout, "reconfigure") and "utf" not in (sys.stdout.encoding or "").lower():
        sys.stdout.reconfigure(errors="replace")
    return SafeConsole(file=sys.stdout, width=None if sys.stdout.isatty() else _FILE_WIDTH)
