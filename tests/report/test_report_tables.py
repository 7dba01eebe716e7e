"""Tables give the frontier's numbers, and print names without reading markup in them."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from helpers.report_factory import add_blends, make_frontier
from mergekit_calib.report.tables.frames import points_frame
from mergekit_calib.report.tables.markdown import escape_markdown, frontier_markdown, markdown_table
from mergekit_calib.report.tables.rows import frontier_table, table_caption
from mergekit_calib.report.terminal.points_table import console_table
from mergekit_calib.report.text import formatting
from mergekit_calib.results.findings import Estimate, Objective
from mergekit_calib.results.frontier import Frontier, PointResult, Superiority

HOSTILE = "a|b <script>alert(1)</script> [bold]x[/bold] $y$ `z`"


def printed(frontier: Frontier, width: int) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(console_table(frontier))
    return console.file.getvalue()


def test_markdown_has_one_row_for_each_point_with_the_same_number_of_cells() -> None:
    frontier = make_frontier({"lambda": list(np.linspace(0, 1.5, 60))}, failed=("lambda=0.0254237",))
    lines = frontier_markdown(frontier).splitlines()
    assert len(lines) == 2 + 60
    assert len({line.count("|") for line in lines}) == 1


def test_markdown_marks_parents_frontier_and_choice_and_quotes_the_held_out_split() -> None:
    frontier = make_frontier()
    selected = frontier.selected
    assert selected is not None
    text = frontier_markdown(frontier)
    (row,) = [line for line in text.splitlines() if "★" in line]
    estimate = selected.estimate(frontier.objectives[0], "held_out")
    assert row.startswith(f"| **{selected.name}** | {estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]")
    assert "| λ = 0 (base) |" in text
    assert "| λ = 1 (aligned) |" in text
    assert text.count("●") == sum(p.on_frontier["held_out"] for p in frontier.points)
    assert "ece ↓ (15 bins)" in text
    assert "rms_ce_debiased" in text


def test_a_failed_point_gives_its_reason_in_its_row() -> None:
    frontier = make_frontier(failed=("lambda=0.3",))
    (row,) = [line for line in frontier_markdown(frontier).splitlines() if "λ = 0.3" in line]
    assert "failed: OutOfMemoryError" in row
    (row,) = [line for line in printed(frontier, 200).splitlines() if "λ = 0.3" in line]
    assert "failed: OutOfMemoryError" in row


def test_names_cannot_break_the_markdown_table() -> None:
    frontier = make_frontier()
    frontier.points[1].id = HOSTILE
    frontier.points[1].status, frontier.points[1].reason = "failed", "two\nlines | <b>bold</b>"
    lines = frontier_markdown(frontier).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert not any("<" in line or "`" in line for line in lines)


def test_names_are_not_read_as_console_markup() -> None:
    frontier = make_frontier()
    frontier.points[1].id = "[bold]x[/bold]"
    assert "[bold]x[/bold]" in printed(frontier, 160)


def test_two_objectives_fit_into_eighty_columns_without_breaking_a_number() -> None:
    lines = printed(make_frontier(), 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("]" in line and "[" in line for line in lines) == 5


def test_axes_have_columns_only_if_names_do_not_contain_the_settings() -> None:
    frontier = make_frontier({"lambda": [0.5, 1.5], "density": [0.3, 0.6]})
    assert frontier_table(frontier).axes == ()
    frontier.points[2].id = "trial-7"
    assert frontier_table(frontier).axes == ("λ", "density")


def test_csv_is_read_back_with_the_same_numbers(tmp_path) -> None:
    frontier = make_frontier(failed=("lambda=0.3",))
    frontier.points[2].id = 'odd "id", with\nnewline'
    frame = points_frame(frontier)
    frame.to_csv(tmp_path / "points.csv", index=False)
    again = pd.read_csv(tmp_path / "points.csv", float_precision="round_trip")
    assert list(again.columns) == list(frame.columns)
    assert list(again["id"]) == [p.id for p in frontier.points]
    assert list(again["axis.lambda"]) == [p.axes["lambda"] for p in frontier.points]
    for row, point in zip(again.to_dict("records"), frontier.points, strict=True):
        for split in ("selection", "held_out"):
            estimate = point.metrics.get("suite", {}).get("ece", {}).get(split)
            if estimate is None:
                assert np.isnan(row[f"suite.ece.{split}.value"])
            else:
                written = [row[f"suite.ece.{split}.{part}"] for part in ("value", "low", "high", "n")]
                assert written == [estimate.value, estimate.low, estimate.high, estimate.n]
    assert list(again["selected"]) == [p.selected for p in frontier.points]
    assert list(again["status"]) == [p.status for p in frontier.points]


def test_a_metric_without_intervals_is_printed_bare() -> None:
    frontier = make_frontier(select=None)
    frontier.objectives[1] = Objective(metric="distinct_2", task="calib_diversity", direction="maximize")
    for point in frontier.points:
        point.metrics["calib_diversity"] = {"distinct_2": {"held_out": Estimate(value=0.4, n=40)}}
    assert "| 0.400 |" in frontier_markdown(frontier)
    assert "calib_diversity/distinct_2 ↑" in frontier_markdown(frontier)


def test_a_point_with_the_weights_of_another_says_so() -> None:
    frontier = make_frontier()
    frontier.points.append(PointResult(id="lambda=0.61", axes={"lambda": 0.61}, recipe="", same_as="lambda=0.6"))
    assert "λ = 0.61, same weights as λ = 0.6" in frontier_markdown(frontier)


@pytest.mark.parametrize(
    ("metric", "binned"),
    [("ece", True), ("ece,flexible-extract", True), ("rms_ce_debiased", True), ("smooth_ece", False), ("acc", False)],
)
def test_binned_metrics_are_recognised_with_or_without_a_filter(metric: str, binned: bool) -> None:
    assert formatting.is_binned(metric) is binned


def test_the_caption_explains_the_marks() -> None:
    frontier = make_frontier()
    assert "600 items of the held-out split, with 95 % bootstrap intervals" in table_caption(frontier)
    assert "share of resamples" not in table_caption(frontier)
    frontier.points[0].frontier_probability = 0.5
    assert "% = share of resamples in which it is" in table_caption(frontier)
    assert "No point is shown to be better than both parents in every objective" in table_caption(frontier)
    frontier.points[1].superiority = Superiority(shown=True, p=0.001, p_adjusted=0.003)
    assert "superior ✓ = better than both parents in every objective (5 % level" in table_caption(frontier)
    assert "superior" not in table_caption(frontier, marks_only=True)


def test_the_caption_says_what_the_baselines_are_and_how_many_models_they_run() -> None:
    frontier = add_blends(make_frontier())
    assert "blended log-probabilities, with λ chosen on the selection split, run two unless" in table_caption(frontier)
    assert "temperature" not in table_caption(frontier)


def test_superior_holds_a_tick_or_nothing() -> None:
    frontier = make_frontier()
    frontier.points[2].superiority = Superiority(shown=True, p=0.001, p_adjusted=0.003)
    rows = frontier_table(frontier).rows
    assert [row.superior for row in rows] == ["", "", "✓", "", ""]
    assert "superior" in printed(frontier, 120)
    assert "p = " not in printed(frontier, 120)


def test_a_terminal_has_no_column_for_superiority_if_no_point_is_superior() -> None:
    frontier = make_frontier()
    for point in frontier.points:
        point.superiority = point.superiority and Superiority(shown=False, p=1, p_adjusted=1)
    assert "superior" not in printed(frontier, 120).splitlines()[0]


def test_numbers_of_the_selection_split_stand_beside_those_of_the_held_out_split() -> None:
    frontier = make_frontier(select="lambda=0.6")
    point = frontier.point("lambda=0.6")
    on = {s: [point.estimate(o, s).value for o in frontier.objectives] for s in ("held_out", "selection")}
    table = frontier_table(frontier)
    assert table.chosen_on_measures == ("acc ↑", "ece ↓")
    assert table.rows[2].chosen_on == tuple(f"{value:.3f}" for value in on["selection"])
    (row,) = [line for line in frontier_markdown(frontier).splitlines() if "★" in line]
    assert row.endswith(f"| ★ | {on['selection'][0]:.3f} | {on['selection'][1]:.3f} |")
    (row,) = [line for line in printed(frontier, 120).splitlines() if "λ = 0.6 ★" in line]
    assert row.index(f"{on['held_out'][1]:.3f}") < row.index(f"{on['selection'][0]:.3f}")


def test_in_a_narrow_terminal_a_line_below_the_choice_has_its_numbers_of_the_selection_split() -> None:
    frontier = make_frontier(select="lambda=0.6")
    lines = printed(frontier, 80).splitlines()
    chosen = next(i for i, line in enumerate(lines) if "★" in line)
    below = lines[chosen + 1]
    assert below.startswith("  selection")
    for objective in frontier.objectives:
        held_out, selection = (frontier.points[2].estimate(objective, s).value for s in ("held_out", "selection"))
        assert lines[chosen].index(f"{held_out:.3f} [") == below.index(f"{selection:.3f}")
    assert not any(line.startswith("  selection") for line in printed(frontier, 120).splitlines())


def test_the_proper_score_that_the_rule_looked_at_has_a_column() -> None:
    frontier = make_frontier(select="lambda=0.6")
    frontier.rule_scores["brier"] = frontier.rule_scores["brier"].model_copy(update={"proper": True})
    assert frontier_table(frontier).chosen_on_measures == ("acc ↑", "ece ↓")
    assert frontier.selection is not None
    frontier.selection = frontier.selection.model_copy(update={"rule": "one_se"})
    assert frontier_table(frontier).chosen_on_measures == ("acc ↑", "ece ↓", "brier ↓")
    brier = frontier.points[2].metrics["suite"]["brier"]["selection"].value
    assert f"| {brier:.3f} |" in next(line for line in frontier_markdown(frontier).splitlines() if "★" in line)


def test_the_frame_has_the_differences_to_each_parent_and_what_changes_for_its_users() -> None:
    frontier = make_frontier({"weight": [0.2]}, roles=("base", "math", "code"))
    frontier.points[3].dominated_by = {"selection": [], "held_out": ["math", "code"]}
    frame = points_frame(frontier).set_index("id")
    for role in frontier.models:
        difference = frontier.point("weight=0.2").differences[role]["ece"]
        row = frame.loc["weight=0.2"]
        assert [row[f"minus.{role}.ece.{part}"] for part in ("value", "low", "high", "p")] == [
            difference.value, difference.low, difference.high, difference.p,
        ]  # fmt: skip
        assert row[f"changes.{role}.kl"] == frontier.point("weight=0.2").changes[role].kl.value
        assert np.isnan(frame.loc[role, f"minus.{role}.ece.value"])
    assert frame.loc["weight=0.2", "dominated_by.held_out"] == "math code"


def test_the_frame_says_which_points_an_earlier_run_scored() -> None:
    frontier = make_frontier()
    frontier.points[1].reused = True
    assert list(points_frame(frontier)["reused"]) == [False, True, False, False, False]


@pytest.mark.parametrize("roles", [("base",), ("math", "code"), tuple(f"model-{i}" for i in range(8))])
def test_tables_of_one_to_eight_parents_have_a_row_for_each(roles: tuple[str, ...]) -> None:
    frontier = make_frontier({"weight": [0.2, 0.4]}, roles=roles, select="weight=0.2")
    rows = frontier_table(frontier).rows
    assert [row.label for row in rows] == [*roles, "weight = 0.2", "weight = 0.4"]
    assert max(map(len, printed(frontier, 80).splitlines())) <= 80
    words = {1: "the parent", 2: "both parents"}.get(len(roles), "every parent")
    assert f"better than {words}" in table_caption(frontier)


def test_baselines_that_are_not_shown_are_left_out_of_short_tables() -> None:
    frontier = add_blends(make_frontier({"weight": [0.2]}, roles=("base", "math", "code")))
    labels = [b.label for b in frontier_table(frontier).baselines]
    assert labels == ["blended λ = 0.4: base and math", "blended λ = 0.4: base and code"]
    for text in (frontier_markdown(frontier), printed(frontier, 100)):
        assert labels[0] in text
        assert labels[1] not in text


def test_a_stored_reason_is_printed_with_the_names_of_points() -> None:
    frontier = make_frontier()
    frontier.points[1].status, frontier.points[1].reason = "stopped", "lambda=0.6 dominates it after 300 items"
    assert frontier_table(frontier).rows[1].outcome == "stopped: λ = 0.6 dominates it after 300 items"


def test_short_rows_of_a_markdown_table_are_filled_up() -> None:
    assert markdown_table(["a", escape_markdown("b|c")], [["1"], ["2", "3"]], "lr").splitlines() == [
        "| a | b&#124;c |",
        "| :-- | --: |",
        "| 1 |  |",
        "| 2 | 3 |",
    ]


def test_intervals_stay_readable_in_markdown_and_links_do_not_work() -> None:
    assert escape_markdown("accuracy (+0.027 [−0.015, 0.039])") == "accuracy (+0.027 [−0.015, 0.039])"
    for link in ("[x](http://evil)", "[1, 2](http://evil)", "[1, 2][3]", "[1, 2]: http://evil"):
        assert "[1, 2]" not in escape_markdown(link)
        assert "[x]" not in escape_markdown(link)
