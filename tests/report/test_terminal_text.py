"""What a run prints: the models when it starts, a forecast, and the answer in four lines at its end."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from helpers.report_factory import add_blends, make_frontier
from mergekit_calib.report.terminal.console import ConsoleProgress
from mergekit_calib.report.text.answer import answer_lines
from mergekit_calib.report.text.statements import statements


def test_the_run_ends_in_the_four_lines_of_the_answer() -> None:
    frontier = make_frontier()
    file = io.StringIO()
    ConsoleProgress(Console(file=file, width=120), out_path="out").finished(frontier)
    last = file.getvalue().splitlines()[-4:]
    assert [line[:2] for line in last] == ["★ ", "• ", "• ", "• "]
    assert [line[2:] for line in last] == list(answer_lines(frontier, "out"))
    assert not any(statement in file.getvalue() for statement in statements(frontier))


def test_a_verbose_run_prints_every_statement_before_the_answer() -> None:
    frontier = make_frontier()
    file = io.StringIO()
    ConsoleProgress(Console(file=file, width=120), out_path="out", verbose=True).finished(frontier)
    lines = file.getvalue().splitlines()
    assert lines[-5] == ""
    assert lines[-5 - len(statements(frontier)) : -5] == [f"• {statement}" for statement in statements(frontier)]
    assert lines[-4] == f"★ {answer_lines(frontier, 'out')[0]}"


def test_a_forecast_is_printed_once_as_soon_as_the_parents_are_scored() -> None:
    frontier = add_blends(make_frontier())
    file = io.StringIO()
    with ConsoleProgress(Console(file=file, width=120)) as progress:
        progress.started(frontier.model_copy(update={"points": [], "blends": []}), 5)
        progress.point_finished(frontier.points[0], frontier.model_copy(update={"blends": []}))
        assert "Forecast" not in file.getvalue()
        for point in frontier.points[1:]:
            progress.point_finished(point, frontier)
    (line,) = [line for line in file.getvalue().splitlines() if "Forecast from the parents alone" in line]
    accuracy = frontier.blends[0].values["acc"]["selection"]
    best = max(accuracy)
    assert f"best accuracy {best:.3f} near λ = {frontier.blends[0].lambdas[accuracy.index(best)]:g}" in line


@pytest.mark.parametrize("roles", [("base",), ("math", "code", "chat")])
def test_a_run_of_any_number_of_models_names_them_when_it_starts(roles: tuple[str, ...]) -> None:
    frontier = make_frontier({"weight": [0.2]}, roles=roles)
    file = io.StringIO()
    with ConsoleProgress(Console(file=file, width=120)) as progress:
        progress.started(frontier, 4)
        progress.finished(frontier)
    assert all(model in file.getvalue().splitlines()[0] for model in frontier.models.values())
