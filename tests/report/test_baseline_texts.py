"""Baselines in sentences and tables: which does as well, at which cost, whatever the outcome; and the forecast."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from helpers.report_comparisons import BETTER, NEITHER, WORSE, assert_holds, compared, with_baselines
from helpers.report_factory import add_blends, make_frontier
from mergekit_calib.report.tables.markdown import escape_markdown, frontier_markdown
from mergekit_calib.report.terminal.points_table import console_table
from mergekit_calib.report.text.baseline_texts import baseline_verdicts, forecast, recalibration
from mergekit_calib.report.text.statements import statements
from mergekit_calib.results.baseline_findings import Baseline


@pytest.mark.parametrize(
    ("recalibrated", "facts"),
    [
        ((BETTER, NEITHER), ["beats temperature scaling on accuracy", "no significant difference in ECE"]),
        ((BETTER, BETTER), ["beats temperature scaling on accuracy", "and ECE"]),
        ((BETTER, WORSE), ["beats temperature scaling on accuracy", "loses to it on ECE"]),
        ((NEITHER, WORSE), ["loses to temperature scaling on ECE", "no significant difference in accuracy"]),
        ((NEITHER, NEITHER), ["does not significantly beat temperature scaling", "accuracy", "ECE"]),
    ],
)
def test_merging_is_compared_with_temperature_scaling_whatever_the_outcome(recalibrated, facts) -> None:
    text = recalibration(with_baselines(recalibrated, (NEITHER, NEITHER)))
    assert_holds(text, "Merging ", *facts)
    verdict = text.split(". ")[0]
    assert ("beats" in verdict) == (BETTER in recalibrated)
    assert ("loses" in verdict) == (WORSE in recalibrated)
    assert ("no significant" in verdict) == (NEITHER in recalibrated)


def test_the_comparison_with_temperature_scaling_has_its_temperatures_and_intervals() -> None:
    text = recalibration(with_baselines((BETTER, NEITHER), (BETTER, WORSE)))
    assert_holds(text, "+0.020 [0.010, 0.030]", "−0.005 [−0.020, 0.010]", "λ = 0.6 with T = 1.20", "T = 1.83")
    others = baseline_verdicts(with_baselines((BETTER, NEITHER), (BETTER, WORSE)))
    without = ["better in accuracy (+0.020 [", "worse in ECE (+0.020 [0.010, 0.030])"]
    assert_holds(others[1], "λ = 0.6 against aligned with T = 1.83, which needs no merge:", *without)


def test_if_a_parent_is_chosen_no_gain_is_credited_to_merging() -> None:
    for parent in ("lambda=0", "lambda=1"):
        frontier = with_baselines((BETTER, NEITHER), (NEITHER, NEITHER), select=parent)
        assert recalibration(frontier) == ""
        assert "Merging" not in " ".join(statements(frontier))
    # The frontier's last: aligned is chosen, and its own temperature is a baseline that needs no merge.
    assert "As good as λ = 1, without a merge: aligned with T = 1.83 (runs 1 model)" in statements(frontier)[2]


def test_the_average_of_the_parents_is_compared_with_its_cost() -> None:
    text = baseline_verdicts(with_baselines((BETTER, NEITHER), (NEITHER, NEITHER)))[-1]
    assert_holds(text, "λ = 0.6 against the average", "base and aligned", "runs 2 models for each answer")
    assert_holds(text, "better in ECE (−0.020", "no significant difference")


def test_baselines_stand_below_the_points_without_frontier_test_or_choice() -> None:
    frontier = with_baselines((BETTER, NEITHER), (BETTER, WORSE))
    lines = frontier_markdown(frontier).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split(" | ")[0].lstrip("| ") for line in lines[-3:]] == [
        "aligned, T = 1.83",
        "parents averaged",
        "λ = 0.6, T = 1.20",
    ]
    assert all(line.endswith("| baseline |  |  |  |  |") for line in lines[-3:])
    console = Console(width=200, file=io.StringIO())
    console.print(console_table(frontier))
    printed = [line for line in console.file.getvalue().splitlines() if "[" in line]
    assert [line.split("  ")[0] for line in printed[-3:]] == [
        "aligned, T = 1.83",
        "parents averaged",
        "λ = 0.6, T = 1.20",
    ]
    assert len(printed) == len(frontier.points) + 3


def test_temperatures_of_several_tasks_are_named() -> None:
    frontier = with_baselines((NEITHER, NEITHER), (NEITHER, NEITHER))
    frontier.baselines[0].temperatures = {"calib_demo": 1.5, "arc_easy": 2.0}
    assert_holds(recalibration(frontier), "aligned with T = 1.50 on calib_demo and T = 2.00 on arc_easy")
    assert "| aligned, T by task |" in frontier_markdown(frontier)


@pytest.mark.parametrize(("temperature", "printed"), [(100.0, "T ≥ 100"), (0.01, "T ≤ 0.01")])
def test_a_temperature_at_the_end_of_the_search_is_not_printed_as_a_fit(temperature: float, printed: str) -> None:
    frontier = with_baselines((NEITHER, NEITHER), (NEITHER, NEITHER))
    frontier.baselines[0].temperatures = {"calib_demo": temperature}
    assert_holds(recalibration(frontier), printed, "no finite temperature is best")
    assert f"| aligned, {printed} |" in frontier_markdown(frontier)


def test_a_verdict_names_the_baselines_that_are_better_or_as_good_with_the_models_that_they_run() -> None:
    verdict = baseline_verdicts(with_baselines((NEITHER, NEITHER), (NEITHER, WORSE)))[0]
    assert verdict == "Better than λ = 0.6, without a merge: aligned with T = 1.83 (runs 1 model)."
    frontier = with_baselines((NEITHER, NEITHER), (NEITHER, NEITHER))
    frontier.baselines[1].differences = {"lambda=0.6": compared(NEITHER, NEITHER)}
    verdict = baseline_verdicts(frontier)[0]
    assert_holds(verdict, "As good as λ = 0.6", "aligned with T = 1.83 (runs 1 model)", "average", "(runs 2 models)")
    verdict = baseline_verdicts(with_baselines((NEITHER, NEITHER), (BETTER, WORSE)))[0]
    assert verdict == "λ = 0.6 is better than every baseline in at least one objective."


def test_baselines_that_are_not_shown_have_no_sentence_of_their_own() -> None:
    frontier = with_baselines((NEITHER, NEITHER), (BETTER, WORSE))
    frontier.baselines[0].shown = False
    assert not any(line.startswith("λ = 0.6 against aligned with T") for line in baseline_verdicts(frontier))


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({"kind": "temperature", "of": ["lambda=1"], "temperatures": {"x": 1.5}}, "aligned, T = 1.50"),
        (
            {"kind": "temperature", "of": ["lambda=1"], "temperatures": {"x": 1.5}, "uses_labels": False},
            "aligned, T* = 1.50",
        ),
        ({"kind": "average", "of": ["lambda=0", "lambda=1"]}, "parents averaged"),
        ({"kind": "blend", "of": ["lambda=0", "lambda=1"], "at": 0.25}, "parents blended, λ = 0.25"),
    ],
)
def test_baselines_have_short_names_in_tables(fields: dict, label: str) -> None:
    frontier = make_frontier(baselines=[Baseline(id="x", **fields)])
    assert f"| {escape_markdown(label)} |" in frontier_markdown(frontier)


def test_a_forecast_gives_the_best_of_each_objective_and_of_several_parents_names_the_two() -> None:
    frontier = add_blends(make_frontier({"weight": [0.2]}, roles=("base", "math", "code")))
    for blend, other in zip(frontier.blends, ("math", "code"), strict=True):
        text = forecast(frontier, blend)
        values = blend.values["ece"]["selection"]
        assert f"(base and {other})" in text
        assert f"ECE {min(values):.3f} near λ = {blend.lambdas[values.index(min(values))]:g}" in text
    assert forecast(frontier, blend.model_copy(update={"values": {}})) == ""
