"""Statements give each result with its numbers, in favour of merging or not; without a result there is none."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from helpers.report_factory import make_frontier
from mergekit_calib.report.card.model_card import model_card
from mergekit_calib.report.page import report_html
from mergekit_calib.report.tables.markdown import escape_markdown, frontier_markdown
from mergekit_calib.report.terminal.points_table import console_table
from mergekit_calib.report.text import statements as texts
from mergekit_calib.report.text.statements import statements
from mergekit_calib.results.findings import (
    Baseline,
    BothSplits,
    Difference,
    Estimate,
    FrontierUncertainty,
    Optimum,
    Selection,
    Trend,
)
from mergekit_calib.results.frontier import Frontier

BETTER, WORSE, NEITHER = (0.01, 0.03), (-0.03, -0.01), (-0.01, 0.02)  # intervals of a gain


def difference(gain: tuple[float, float], sign: int = 1) -> Difference:
    low, high = sorted(sign * g for g in gain)
    return Difference(value=(low + high) / 2, low=low, high=high, n=600)


def compared(acc: tuple[float, float], ece: tuple[float, float]) -> dict[str, Difference]:
    return {"acc": difference(acc), "ece": difference(ece, -1)}


def with_baselines(recalibrated, plain, select: str = "lambda=0.6", **fields) -> Frontier:
    frontier = make_frontier(select=select, **fields)
    metrics = frontier.points[0].metrics
    frontier.baselines = [
        Baseline(
            id="aligned+T",
            kind="temperature",
            of=["lambda=1"],
            temperatures={"calib_demo": 1.834},
            metrics=metrics,
            differences={f"{select}+T": compared(*recalibrated), select: compared(*plain)},
        ),
        Baseline(
            id="base&aligned",
            kind="average",
            of=["lambda=0", "lambda=1"],
            models_run=2,
            metrics=metrics,
            differences={select: compared(NEITHER, BETTER)},
        ),
        Baseline(id=f"{select}+T", kind="temperature", of=[select], temperatures={"calib_demo": 1.2}, metrics=metrics),
    ]
    return frontier


def assert_holds(text: str, *facts: str) -> None:
    """Check that each of `facts` stands in `text`, in this order."""
    at = 0
    for fact in facts:
        assert fact in text[at:], (fact, text)
        at = text.index(fact, at) + len(fact)


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
    text = texts.recalibration(with_baselines(recalibrated, (NEITHER, NEITHER)))
    assert_holds(text, "Merging ", *facts)
    verdict = text.split(". ")[0]
    assert ("beats" in verdict) == (BETTER in recalibrated)
    assert ("loses" in verdict) == (WORSE in recalibrated)
    assert ("no significant" in verdict) == (NEITHER in recalibrated)


def test_the_comparison_with_temperature_scaling_has_its_temperatures_and_intervals() -> None:
    text = texts.recalibration(with_baselines((BETTER, NEITHER), (BETTER, WORSE)))
    assert_holds(text, "+0.020 [0.010, 0.030]", "−0.005 [−0.020, 0.010]", "λ = 0.6 with T = 1.20", "T = 1.83")
    others = texts.baseline_verdicts(with_baselines((BETTER, NEITHER), (BETTER, WORSE)))
    without = ["better in accuracy (+0.020 [", "worse in ECE (+0.020 [0.010, 0.030])"]
    assert_holds(others[1], "λ = 0.6 against aligned with T = 1.83, which needs no merge:", *without)


def test_if_a_parent_is_chosen_no_gain_is_credited_to_merging() -> None:
    for parent in ("lambda=0", "lambda=1"):
        frontier = with_baselines((BETTER, NEITHER), (NEITHER, NEITHER), select=parent)
        assert texts.recalibration(frontier) == ""
        assert "Merging" not in " ".join(statements(frontier))
    # The frontier's last: aligned is chosen, and its own temperature is a baseline that needs no merge.
    assert "As good as λ = 1, without a merge: aligned with T = 1.83 (runs 1 model)" in statements(frontier)[2]


def test_the_average_of_the_parents_is_compared_with_its_cost() -> None:
    text = texts.baseline_verdicts(with_baselines((BETTER, NEITHER), (NEITHER, NEITHER)))[-1]
    assert_holds(text, "λ = 0.6 against the average", "base and aligned", "runs 2 models for each answer")
    assert_holds(text, "better in ECE (−0.020", "no significant difference")


def splits(other: str, **differences) -> BothSplits:
    estimates = {
        "selection": {"acc": Estimate(value=0.71, low=0.6, high=0.8, n=600), "ece": Estimate(value=0.05, n=600)},
        "held_out": {"acc": Estimate(value=0.72, low=0.6, high=0.8, n=600), "ece": Estimate(value=0.06, n=600)},
    }
    return BothSplits(
        choices={
            "selection": Selection(rule="knee", point="lambda=0.6", reason=""),
            "held_out": Selection(rule="knee", point=other, reason=""),
        },
        on_other_split=estimates,
        differences=differences,
    )


def test_splits_that_agree_give_the_scores_on_the_other_split() -> None:
    text = texts.both_splits(make_frontier(splits=splits("lambda=0.6")))
    assert_holds(text, "Both splits agree", "λ = 0.6", "on the selection split", "0.720 [0.600, 0.800]", "0.060")
    assert "uncertain" not in text


def test_splits_that_disagree_give_the_other_choice_and_whether_the_two_differ() -> None:
    apart = splits("lambda=0.3", selection=compared(NEITHER, WORSE), held_out=compared(BETTER, WORSE))
    text = texts.both_splits(make_frontier(splits=apart))
    assert_holds(text, "The choice is uncertain", "on the held-out split the rule would pick λ = 0.3")
    on_selection = [
        "On the selection split, λ = 0.6 against λ = 0.3: worse in ECE (",
        "no significant difference in acc",
    ]
    on_held_out = ["On the held-out split, λ = 0.6 against λ = 0.3: better in accuracy (", "and worse in ECE ("]
    assert_holds(text, *on_selection, *on_held_out)
    assert_holds(text, "λ = 0.6 on the held-out split", "0.710", "λ = 0.3 on the selection split", "0.720")


def test_a_difference_on_one_split_alone_is_stated_with_the_split() -> None:
    one = splits("lambda=0.3", selection=compared(NEITHER, NEITHER), held_out=compared(WORSE, NEITHER))
    text = texts.both_splits(make_frontier(splits=one))
    assert_holds(text, "On the selection split, λ = 0.6 against λ = 0.3: no significant difference in accuracy")
    assert_holds(text, "On the held-out split, λ = 0.6 against λ = 0.3: worse in accuracy (−0.020 [−0.030, −0.010])")


def test_the_most_frequent_choices_under_resampling_are_listed() -> None:
    few = splits("lambda=0.6").model_copy(update={"choice_shares": {"lambda=0.6": 0.7049, "lambda=0.3": 0.2951}})
    assert_holds(texts.both_splits(make_frontier(splits=few)), "Under resampling: 0.6 (70 %), 0.3 (30 %).")
    several = {"lambda=0.6,density=0.5": 0.6, "lambda=0.6,density=0.7": 0.4}
    text = texts.both_splits(make_frontier(splits=few.model_copy(update={"choice_shares": several})))
    assert_holds(text, "λ = 0.6, density = 0.5 (60 %)", "λ = 0.6, density = 0.7 (40 %)")
    many = splits("lambda=0.6").model_copy(update={"choice_shares": {f"p{i}": 0.2 for i in range(5)}})
    text = texts.both_splits(make_frontier(splits=many))
    assert_holds(text, "p0 (20 %), p1 (20 %), p2 (20 %), 2 others")
    assert "p3" not in text


def test_hypervolume_is_printed_with_interval_and_reference() -> None:
    uncertainty = FrontierUncertainty(
        reference={"acc": 0.76234, "ece": 0.11288},
        hypervolume=Estimate(value=0.00242, low=0.00081, high=0.0039, n=600),
        of_parents=Estimate(value=0.0, low=0.0, high=0.0, n=600),
    )
    text = texts.hypervolume(make_frontier(uncertainty=uncertainty))
    assert_holds(text, "0.0024 [0.00081, 0.0039]", "parents alone: 0 [0, 0]", "accuracy 0.762, ECE 0.113")


def trend(objective: str, low: float, high: float, p_monotone: float = 1.0) -> Trend:
    tau = Estimate(value=(low + high) / 2, low=low, high=high, n=4)
    return Trend(objective=objective, lambdas=[1, 1.2, 1.4, 1.6], tau=tau, fitted=[0, 0, 0, 0], p_monotone=p_monotone)


def test_a_trend_is_stated_only_if_its_interval_excludes_0() -> None:
    text = texts.extrapolation(make_frontier(trends=[trend("acc", -0.6, 0.2), trend("ece", 0.6, 1.0)]))
    assert_holds(text, "From λ = 1 to 1.6 (4 points)", "no significant trend in accuracy", "−0.20 [−0.60, 0.20]")
    assert_holds(text, "ECE rises", "+0.80 [0.60, 1.00]")
    turning = texts.extrapolation(make_frontier(trends=[trend("acc", -0.9, -0.3, p_monotone=0.004)]))
    assert_holds(turning, "accuracy falls, but not monotonically, p = 0.004")


def test_optima_are_printed_with_their_intervals() -> None:
    best = [Optimum(objective="acc", axis="lambda", at=0.3, low=0.2, high=0.6)]
    assert_holds(texts.optima(make_frontier(optima=best)), "accuracy at λ = 0.3 [0.2, 0.6]")


def test_a_run_without_results_for_them_has_no_statements() -> None:
    frontier = make_frontier(detectable={})
    for point in frontier.points:
        point.superiority, point.changes = None, {}
    assert statements(frontier) == []
    assert statements(make_frontier(select=None, finished=False, points=[], detectable={})) == []


def test_card_and_page_have_every_statement_and_the_baselines_in_the_table() -> None:
    frontier = with_baselines((BETTER, NEITHER), (BETTER, WORSE), splits=splits("lambda=0.6"))
    card, page = model_card(frontier), report_html(frontier)
    assert len(statements(frontier)) > 5
    for statement in statements(frontier):
        assert f"- {escape_markdown(statement)}" in card
        assert statement.replace("'", "&#39;") in page
    for label in ("aligned, T = 1.83", "parents averaged", "λ = 0.6, T = 1.20"):
        assert f"| {label} |" in card
        assert label in page
    assert page.count('<td class="mark">baseline</td>') == 3


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
    assert_holds(texts.recalibration(frontier), "aligned with T = 1.50 on calib_demo and T = 2.00 on arc_easy")
    assert "| aligned, T by task |" in frontier_markdown(frontier)


def test_the_share_of_resamples_on_the_frontier_stands_in_its_column() -> None:
    frontier = make_frontier()
    for point in frontier.points:
        point.frontier_probability = 0.4567
    on = sum(p.on_frontier["held_out"] for p in frontier.points)
    text = frontier_markdown(frontier)
    assert text.count("| ● 46 % |") == on
    assert text.count("| 46 % |") == len(frontier.points) - on


@pytest.mark.parametrize(("temperature", "printed"), [(100.0, "T ≥ 100"), (0.01, "T ≤ 0.01")])
def test_a_temperature_at_the_end_of_the_search_is_not_printed_as_a_fit(temperature: float, printed: str) -> None:
    frontier = with_baselines((NEITHER, NEITHER), (NEITHER, NEITHER))
    frontier.baselines[0].temperatures = {"calib_demo": temperature}
    assert_holds(texts.recalibration(frontier), printed, "no finite temperature is best")
    assert f"| aligned, {printed} |" in frontier_markdown(frontier)
