"""The view of a running sweep in an emulated terminal, and the lines that a file gets instead."""

from __future__ import annotations

import io
import re
from typing import Any

import pyte
import pytest
from rich.console import Console

from helpers.report_factory import make_frontier
from mergekit_calib.report.tables.markdown import frontier_markdown
from mergekit_calib.report.terminal.console import ConsoleProgress
from mergekit_calib.report.terminal.points_table import console_table
from mergekit_calib.report.terminal.time_left import Pace, PaceOfSeveral, duration
from mergekit_calib.results.frontier import Frontier


class Screen:
    """A terminal of a given size, and a console that writes to it."""

    def __init__(self, width: int, height: int = 40) -> None:
        self.file = io.StringIO()
        self.console = Console(
            file=self.file, force_terminal=True, width=width, height=height, highlight=False, legacy_windows=False
        )
        self._screen = pyte.HistoryScreen(width, height, history=1000, ratio=1.0)
        self._stream, self._fed = pyte.Stream(self._screen), 0

    def resize(self, width: int, height: int) -> None:
        self.read()
        self.console.width, self.console.height = width, height
        self._screen.resize(height, width)

    def read(self) -> list[str]:
        """Return the lines on the screen, without those scrolled away."""
        text = self.file.getvalue()
        self._stream.feed(text[self._fed :].replace("\n", "\r\n"))
        self._fed = len(text)
        return [line.rstrip() for line in self._screen.display if line.strip()]


def with_first_points(frontier: Frontier, n: int = 3) -> Frontier:
    return frontier.model_copy(update={"points": frontier.points[:n], "finished": False})


def replay(progress: ConsoleProgress, frontier: Frontier, n: int = 3) -> None:
    """Replay the events of a run of five points, up to the middle of the point after the first `n`."""
    progress.started(with_first_points(frontier, 0), len(frontier.points))
    for i in range(n):
        progress.point_started(frontier.points[i].id)
        progress.point_finished(frontier.points[i], with_first_points(frontier, i + 1))
    progress.point_started(frontier.points[n].id)
    progress.scoring("calib_demo", 300, 1200)


def lines_with(lines: list[str], *words: str) -> list[str]:
    return [line for line in lines if all(word in line for word in words)]


@pytest.mark.parametrize("width", [40, 80, 160])
def test_the_live_view_shows_the_points_the_one_being_scored_and_the_progress(width: int) -> None:
    screen, frontier = Screen(width), make_frontier(failed=("lambda=0.3",))
    with ConsoleProgress(screen.console) as progress:
        replay(progress, frontier)
        assert progress.live is not None
        progress.live.refresh()
        lines = screen.read()
    assert lines_with(lines, "λ = 0 ", "0.6")
    assert lines_with(lines, "λ = 0.3", "failed: OutOfMemory")
    assert lines_with(lines, "λ = 1", "calib_demo", "300 of 1,200")
    assert lines_with(lines, "3 of 5 points", "left")
    assert lines_with(lines, "●")
    assert sum(set(line) <= {"━", "╸", "╺"} for line in lines) == 2


@pytest.mark.parametrize("width", [20, 30, 40, 80, 160])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_broken(width: int) -> None:
    frontier = make_frontier({"lambda": [0.0, 0.25, 0.5, 1.0]}, objectives=("acc", "ece", "brier"))
    console = Console(file=io.StringIO(), width=width)
    console.print(console_table(frontier))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= width
    row = next(line for line in lines if line.startswith("λ = 0.5"))
    estimate = frontier.points[2].estimate(frontier.objectives[0])
    assert f"{estimate.value:.3f}" in row
    assert row.count("[") == row.count("]")


def test_after_the_run_the_live_view_is_gone_and_the_table_stays() -> None:
    screen, frontier = Screen(80, 60), make_frontier()
    with ConsoleProgress(screen.console, out_path="out") as progress:
        replay(progress, frontier)
        progress.finished(frontier)
    lines = screen.read()
    text = "\n".join(lines)
    assert "━" not in text
    assert "left" not in text
    for point in frontier.points:
        assert len([line for line in lines if line.startswith(f"{point.name} ") and "[" in line]) == 1
    assert lines_with(lines, "★", "Ship λ = 0.6, written to out/.")
    assert "out/calibration/report.html" in text


def test_nothing_of_the_old_view_stays_when_the_window_is_resized() -> None:
    screen, frontier = Screen(100), make_frontier()
    with ConsoleProgress(screen.console) as progress:
        replay(progress, frontier)
        assert progress.live is not None
        progress.live.refresh()
        screen.resize(50, 30)
        progress.live.refresh()
        lines = screen.read()
    assert len(lines_with(lines, "3 of 5 points")) == 1
    assert len(lines_with(lines, "λ = 0.6")) == 1
    assert max(map(len, lines)) <= 50


def test_in_a_low_window_the_least_important_points_are_left_out() -> None:
    frontier = make_frontier({"lambda": [i / 20 for i in range(41)]}, failed=("lambda=1.85",))
    screen = Screen(80, 24)
    with ConsoleProgress(screen.console) as progress:
        progress.started(frontier, 60)
        progress.point_started("lambda=3")
        progress.scoring("calib_demo", 1, 2)
        assert progress.live is not None
        progress.live.refresh()
        lines = screen.read()
    assert lines_with(lines, "0 of 60 points")
    assert re.search(r"… and \d+ points more", "\n".join(lines))
    for kept in ("(base)", "(aligned)", "★", "λ = 1.85"):
        assert lines_with(lines, kept), kept


def test_a_file_gets_one_dated_line_for_each_event_and_no_control_characters() -> None:
    frontier = make_frontier(failed=("lambda=0.3",))
    file = io.StringIO()
    with ConsoleProgress(Console(file=file, width=120)) as progress:
        replay(progress, frontier)
        events = file.getvalue().splitlines()
        progress.finished(frontier)
    assert len(events) == 1 + 3 + 4
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  \S", line) for line in events)
    assert lines_with(events, "λ = 0.3  failed: OutOfMemoryError", "2 of 5")
    estimate = frontier.points[0].estimate(frontier.objectives[0])
    assert lines_with(events, f"λ = 0  acc {estimate.value:.4f}  ece", "(base; 1 of 5")
    assert "\x1b" not in file.getvalue()
    assert "\r" not in file.getvalue()


def test_a_quiet_run_prints_only_failures() -> None:
    frontier = make_frontier(failed=("lambda=0.3",))
    screen = Screen(80)
    with ConsoleProgress(screen.console, quiet=True) as progress:
        replay(progress, frontier)
        progress.finished(frontier)
    (line,) = screen.file.getvalue().splitlines()
    assert "λ = 0.3  failed: OutOfMemoryError" in line


def test_a_stopped_point_gives_its_reason_in_every_table() -> None:
    frontier = make_frontier()
    point = frontier.points[1]
    point.status, point.reason, point.metrics = "stopped", "lambda=0.6 dominates it after 300 items", {}
    outcome = "stopped: λ = 0.6 dominates it after 300 items"
    (row,) = [line for line in frontier_markdown(frontier).splitlines() if line.startswith("| λ = 0.3")]
    assert outcome in row
    console = Console(file=io.StringIO(), width=120)
    console.print(console_table(frontier))
    assert lines_with(console.file.getvalue().splitlines(), "λ = 0.3", outcome)  # type: ignore[attr-defined]


def test_the_live_view_is_removed_when_the_run_is_interrupted() -> None:
    screen, frontier = Screen(80), make_frontier()

    def interrupted() -> None:
        with ConsoleProgress(screen.console) as progress:
            replay(progress, frontier)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "━" not in "\n".join(screen.read())
    assert screen.file.getvalue().rfind("\x1b[?25h") > screen.file.getvalue().rfind("\x1b[?25l")


def test_after_the_last_point_the_view_says_that_results_are_computed() -> None:
    screen, frontier, now = Screen(80), make_frontier(), [0.0]
    with ConsoleProgress(screen.console) as progress:
        progress.view.pace = Pace(clock=lambda: now[0])
        replay(progress, frontier)
        assert progress.live is not None
        progress.view.n_points = None  # as in a search whose number of points is not known
        progress.point_finished(frontier.points[3], frontier)
        now[0] = 1e9
        progress.live.refresh()
        waiting = screen.read()
        progress.concluding()
        progress.live.refresh()
        lines = screen.read()
    assert lines_with(waiting, "waiting for other workers")
    assert lines_with(lines, "computing the results and writing the chosen model")
    assert not lines_with(lines, "waiting")


def test_time_left_is_estimated_from_points_scored_here_and_not_from_those_read_from_disk() -> None:
    now = [0.0]
    pace = Pace(clock=lambda: now[0])
    for _ in range(3):
        pace.point_finished()
    assert pace.left(10) is None
    pace.point_started()
    now[0] = 8.0
    assert pace.left(10, share=0.25) == pytest.approx(8 / 0.25 * 9.75)
    pace.point_finished()
    assert pace.left(9) == pytest.approx(72.0)
    pace.point_started()
    now[0] = 12.0
    assert pace.left(9, share=0.5) == pytest.approx(68.0)


@pytest.mark.parametrize("width", [40, 80, 160])
def test_several_workers_have_a_line_each(width: int) -> None:
    screen, frontier = Screen(width), make_frontier()
    with ConsoleProgress(screen.console) as progress:
        progress.started(with_first_points(frontier, 0), len(frontier.points))
        workers = [progress.of_worker(n) for n in (1, 2, 3)]
        workers[0].point_started(frontier.points[0].id)
        workers[1].point_started(frontier.points[1].id)
        workers[1].scoring("calib_demo", 300, 1200)
        progress.point_finished(frontier.points[0], with_first_points(frontier, 1))
        workers[2].helping(frontier.points[1].id)
        assert progress.live is not None
        progress.live.refresh()
        assert lines_with(screen.read(), "3", f"helping with {frontier.points[1].name}")
        workers[2].concluding()
        progress.live.refresh()
        lines = screen.read()
    assert lines_with(lines, "1", "waiting for a point")
    assert lines_with(lines, f"2  {frontier.points[1].name}", "calib_demo", "300 of 1,200")
    assert lines_with(lines, "3", "ended")
    assert lines_with(lines, f"1 of {len(frontier.points)} points")


def test_only_as_many_workers_are_shown_as_fit_the_screen() -> None:
    screen, frontier = Screen(80, height=15), make_frontier()
    with ConsoleProgress(screen.console) as progress:
        progress.started(with_first_points(frontier, 0), len(frontier.points))
        for number in range(1, 65):
            progress.of_worker(number)
        assert progress.live is not None
        progress.live.refresh()
        assert lines_with(screen.read(), "and 60 more workers")


def test_a_file_gets_a_line_for_each_point_with_its_worker() -> None:
    file, frontier = io.StringIO(), make_frontier()
    with ConsoleProgress(Console(file=file, width=100)) as progress:
        progress.started(with_first_points(frontier, 0), len(frontier.points))
        progress.of_worker(2).point_started(frontier.points[0].id)
    assert f"{frontier.points[0].name}: merging and scoring (worker 2)" in file.getvalue()


def test_the_time_left_of_several_workers_is_estimated_from_all_they_have_done() -> None:
    now = [0.0]
    pace = PaceOfSeveral(clock=lambda: now[0])
    pace.point_finished()  # read from disk
    assert pace.left(8) is None
    now[0] = 10.0
    pace.point_started()
    pace.point_started()
    now[0] = 14.0
    assert pace.left(8, share=1.0) == pytest.approx(28.0)  # half of each of two points in 4 s
    pace.point_finished()
    assert pace.left(7, share=0.0) == pytest.approx(28.0)


def test_points_that_other_workers_finish_shorten_the_time_left() -> None:
    now = [0.0]
    pace = Pace(clock=lambda: now[0])
    pace.point_started()
    now[0] = 8.0
    pace.point_finished()
    pace.point_finished()  # another worker's
    assert pace.left(9) == pytest.approx(36.0)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (67, "1:07"), (59.7, "1:00"), (3600, "1:00:00"), (190000, "2 d 4 h")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_names_are_not_read_as_markup_in_the_view() -> None:
    screen, frontier = Screen(80), make_frontier()
    frontier.points[3].id = "[red]x[/red]"
    with ConsoleProgress(screen.console) as progress:
        replay(progress, frontier)
        assert progress.live is not None
        progress.live.refresh()
        assert lines_with(screen.read(), "[red]x[/red]")


def test_characters_that_cannot_be_encoded_do_not_stop_a_run(monkeypatch: Any) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    frontier = make_frontier()
    with ConsoleProgress() as progress:
        replay(progress, frontier)
        progress.finished(frontier)
    import sys

    sys.stdout.flush()
    assert b"? = 0.6" in raw.getvalue()
