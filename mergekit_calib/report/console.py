"""A running sweep in the terminal: a bar with the time left, and a line for each point as it comes."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from mergekit_calib.frontier import Frontier, PointResult
from mergekit_calib.progress import Progress
from mergekit_calib.report.statements import statements
from mergekit_calib.report.tables import console_table, summary_sentence


class ConsoleProgress(Progress):
    """Prints to `console`; where that is no terminal, one plain line for each event."""

    def __init__(self, console: Console | None = None, quiet: bool = False) -> None:
        self._console = console or Console(highlight=False)
        self._quiet = quiet
        self._bar: Bar | None = None
        self._width = 0
        self._noted: set[str] = set()

    def started(self, frontier: Frontier, n_points: int | None) -> None:
        names = [o.name for o in frontier.objectives]
        self._width = max(8, *(len(name) + 2 for name in names))
        items = sum(entry.n_items for entry in frontier.suite)
        tasks = ", ".join(entry.name for entry in frontier.suite)
        self._say(
            f"{frontier.models['base']} → {frontier.models['aligned']}: "
            f"{'points' if n_points is None else f'{n_points} points'}, {items} items of {tasks}"
        )
        self._notes(frontier)
        self._say(f"{'point':<24}" + "".join(f"{name:>{self._width}}" for name in names) + f"{'seconds':>10}")
        if self._console.is_terminal and not self._quiet:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._points = self._bar.add_task("points", total=n_points)
            self._items = self._bar.add_task("items", total=None)
            self._bar.start()

    def will_take(self, memory: str) -> None:
        self._say(f"It {memory}.")

    def point_started(self, point_id: str) -> None:
        if self._bar:
            self._bar.update(self._points, description=point_id)

    def scoring(self, entry: str, done: int, total: int) -> None:
        if self._bar:
            self._bar.update(self._items, description=entry, completed=done, total=total)

    def point_finished(self, point: PointResult, frontier: Frontier) -> None:
        if point.status != "complete":
            self._say(f"{point.id:<24}{point.status}: {point.reason}")
        else:
            values = [point.estimate(o).value for o in frontier.objectives]
            cells = "".join(f"{'–' if v is None else format(v, '.4f'):>{self._width}}" for v in values)
            mark = f"  {point.role}" if point.role else f"  same weights as {point.same_as}" if point.same_as else ""
            self._say(f"{point.id:<24}{cells}{sum(point.seconds.values()):>10.1f}{mark}")
        if self._bar:
            self._bar.advance(self._points)

    def finished(self, frontier: Frontier) -> None:
        if self._bar:
            self._bar.stop()
        if not self._quiet:
            self._console.print(console_table(frontier))
        self._say(summary_sentence(frontier))
        for statement in statements(frontier):
            self._say(statement)
        self._notes(frontier)

    def _notes(self, frontier: Frontier) -> None:
        for note in frontier.notes:
            if note not in self._noted:
                self._say(note)
            self._noted.add(note)

    def _say(self, line: str) -> None:
        if not self._quiet:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
