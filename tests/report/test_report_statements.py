"""Statements say what was found whichever way it goes, with its interval, and nothing of what was not computed."""

from __future__ import annotations

import pytest

from helpers.report_factory import make_frontier
from mergekit_calib.report.card.model_card import model_card
from mergekit_calib.report.page import report_html
from mergekit_calib.report.tables.frames import frontier_markdown
from mergekit_calib.report.terminal.points_table import console_table
from mergekit_calib.report.text import formatting
from mergekit_calib.report.text import statements as said
from mergekit_calib.report.text.statements import statements
from mergekit_calib.results.frontier import (
    Baseline,
    BothSplits,
    Difference,
    Estimate,
    Frontier,
    FrontierChance,
    Optimum,
    Selection,
    Trend,
)

BETTER, WORSE, OPEN = (0.01, 0.03), (-0.03, -0.01), (-0.01, 0.02)  # as gains


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
            differences={select: compared(OPEN, BETTER)},
        ),
        Baseline(id=f"{select}+T", kind="temperature", of=[select], temperatures={"calib_demo": 1.2}, metrics=metrics),
    ]
    return frontier


@pytest.mark.parametrize(
    ("recalibrated", "opening"),
    [
        ((BETTER, OPEN), "Merging gives more than recalibration in acc: "),
        ((BETTER, BETTER), "Merging gives more than recalibration in acc and ece: "),
        ((BETTER, WORSE), "Merging gives more than recalibration in acc and less in ece: "),
        ((OPEN, WORSE), "Merging gives less than recalibration in ece: "),
        ((OPEN, OPEN), "Merging is not shown to give more than recalibration: "),
    ],
)
def test_merging_against_recalibration_is_told_whichever_way_it_goes(recalibrated, opening) -> None:
    assert said.recalibration(with_baselines(recalibrated, (OPEN, OPEN))).startswith(opening)


def test_the_comparison_with_recalibration_is_one_sentence_with_its_temperatures_and_intervals() -> None:
    assert said.recalibration(with_baselines((BETTER, OPEN), (BETTER, WORSE))) == (
        "Merging gives more than recalibration in acc: with a temperature fitted to each, lambda=0.6 (T = 1.20) is "
        "better in acc (+0.020, 95 % interval +0.010 to +0.030) and not shown to be better or worse in ece (−0.005, "
        "95 % interval −0.020 to +0.010) than aligned (T = 1.83); as it is, lambda=0.6 is better in acc (+0.020, 95 % "
        "interval +0.010 to +0.030) and worse in ece (+0.020, 95 % interval +0.010 to +0.030) than aligned with its "
        "temperature."
    )


def test_where_a_parent_is_chosen_nothing_is_credited_to_merging() -> None:
    aligned = said.recalibration(with_baselines((OPEN, OPEN), (OPEN, OPEN), select="lambda=1"))
    assert aligned.startswith("Merging gives no more than recalibration here: the aligned parent itself is chosen")
    base = said.recalibration(with_baselines((BETTER, OPEN), (OPEN, OPEN), select="lambda=0"))
    assert base.startswith("The base parent, which is chosen, gives more than recalibration in acc")


def test_the_average_of_the_parents_is_compared_with_its_price() -> None:
    text = said.averaging(with_baselines((BETTER, OPEN), (OPEN, OPEN)))
    assert text.startswith("lambda=0.6 is better in ece (−0.020,")
    assert text.endswith("than the average of both parents' probabilities, which runs 2 models for each answer.")


def splits(other: str, **differences) -> BothSplits:
    estimate = Estimate(value=0.7, low=0.6, high=0.8, n=600)
    return BothSplits(
        choices={
            "selection": Selection(rule="knee", point="lambda=0.6", reason=""),
            "held_out": Selection(rule="knee", point=other, reason=""),
        },
        elsewhere={split: {"acc": estimate, "ece": estimate} for split in ("selection", "held_out")},
        differences=differences,
    )


def test_halves_that_agree_say_what_the_choice_scores_where_it_was_not_made() -> None:
    assert said.both_halves(make_frontier(splits=splits("lambda=0.6"))) == (
        "Both splits agree: chosen on the held-out split too, by the same rule, it is lambda=0.6 (acc 0.700 [0.600, "
        "0.800], ece 0.700 [0.600, 0.800] on the selection split)."
    )


def test_halves_that_do_not_agree_say_whether_it_matters() -> None:
    apart = splits("lambda=0.3", selection=compared(OPEN, WORSE), report=compared(BETTER, WORSE))
    text = said.both_halves(make_frontier(splits=apart))
    assert text.startswith("The splits do not agree: the selection split chooses lambda=0.6 (on the held-out split acc")
    assert text.endswith("; on both splits, lambda=0.3 is better in ece beyond chance.")
    alike = splits("lambda=0.3", selection=compared(BETTER, OPEN), report=compared(WORSE, OPEN))
    assert said.both_halves(make_frontier(splits=alike)).endswith(
        "; no objective tells the two apart beyond chance on both splits."
    )


def test_how_often_the_choice_would_be_made_again_is_said_of_the_likeliest() -> None:
    few = splits("lambda=0.6").model_copy(update={"chosen_in": {"lambda=0.6": 0.7049, "lambda=0.3": 0.2951}})
    assert said.both_halves(make_frontier(splits=few)).endswith(
        " Over resamples of the selection split, the rule chooses lambda=0.6 in 70 % and lambda=0.3 in 30 %."
    )
    many = splits("lambda=0.6").model_copy(update={"chosen_in": {f"p{i}": 0.2 for i in range(5)}})
    assert said.both_halves(make_frontier(splits=many)).endswith(
        " chooses p0 in 20 %, p1 in 20 %, p2 in 20 % and 2 others in the rest."
    )


def test_hypervolume_is_printed_with_interval_and_reference() -> None:
    found = FrontierChance(
        reference={"acc": 0.76234, "ece": 0.11288},
        hypervolume=Estimate(value=0.00242, low=0.00081, high=0.0039, n=600),
        of_parents=Estimate(value=0.0, low=0.0, high=0.0, n=600),
    )
    assert said.chance(make_frontier(chance=found)) == (
        "The frontier's hypervolume is 0.0024 (95 % interval 0.00081 to 0.0039), measured from the worse parent in "
        "each objective (acc 0.762, ece 0.113); the parents alone have 0 (95 % interval 0 to 0)."
    )


def trend(objective: str, low: float, high: float, p_monotone: float = 1.0) -> Trend:
    tau = Estimate(value=(low + high) / 2, low=low, high=high, n=4)
    return Trend(objective=objective, lambdas=[1, 1.2, 1.4, 1.6], tau=tau, fitted=[0, 0, 0, 0], p_monotone=p_monotone)


def test_a_trend_is_one_only_where_its_interval_says_so() -> None:
    trends = [trend("acc", -0.6, 0.2), trend("ece", 0.6, 1.0)]
    assert said.amplification(make_frontier(trends=trends)) == (
        "From λ = 1 to 1.6 (4 points), no trend of acc is shown (Kendall's τ −0.20, 95 % interval −0.60 to +0.20) and "
        "ece rises (Kendall's τ +0.80, 95 % interval +0.60 to +1.00)."
    )
    turning = said.amplification(make_frontier(trends=[trend("acc", -0.9, -0.3, p_monotone=0.004)]))
    assert "acc falls, but not monotonically, p = 0.004 (Kendall's" in turning


def test_optima_are_printed_with_their_intervals() -> None:
    best = [Optimum(objective="acc", axis="lambda", at=0.3, low=0.2, high=0.6)]
    assert said.optima(make_frontier(optima=best)) == (
        "Of the points scored, acc is best at λ = 0.3 (0.2 to 0.6), 95 % intervals over resamples."
    )


def test_a_run_without_any_of_it_says_nothing() -> None:
    assert statements(make_frontier()) == []
    assert statements(make_frontier(select=None, finished=False, points=[])) == []


def test_card_and_page_carry_every_statement_and_the_baselines_in_the_table() -> None:
    frontier = with_baselines((BETTER, OPEN), (BETTER, WORSE), splits=splits("lambda=0.6"))
    card, page = model_card(frontier), report_html(frontier)
    assert len(statements(frontier)) == 3
    for statement in statements(frontier):
        assert f"- {formatting.escape_markdown(statement)}" in card
        assert statement.replace("'", "&#39;") in page
    for label in ("aligned, T = 1.83", "parents averaged", "lambda=0.6, T = 1.20"):
        assert f"| {label} |" in card
        assert label in page
    assert page.count('<td class="mark">baseline</td>') == 3


def test_baselines_stand_below_the_points_without_frontier_test_or_choice() -> None:
    frontier = with_baselines((BETTER, OPEN), (BETTER, WORSE))
    lines = frontier_markdown(frontier).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split(" | ")[0].lstrip("| ") for line in lines[-3:]] == [
        "aligned, T = 1.83",
        "parents averaged",
        "lambda=0.6, T = 1.20",
    ]
    assert all(line.endswith("| baseline |  |  |") for line in lines[-3:])
    assert console_table(frontier).row_count == len(frontier.points) + 3


def test_temperatures_of_several_tasks_are_named() -> None:
    frontier = with_baselines((OPEN, OPEN), (OPEN, OPEN))
    frontier.baselines[0].temperatures = {"calib_demo": 1.5, "arc_easy": 2.0}
    assert "than aligned (T of calib_demo = 1.50, T of arc_easy = 2.00);" in said.recalibration(frontier)
    assert "| aligned, T by task |" in frontier_markdown(frontier)


def test_the_share_of_resamples_on_the_frontier_stands_in_its_column() -> None:
    frontier = make_frontier()
    for point in frontier.points:
        point.frontier_probability = 0.4567
    on = sum(p.on_frontier["held_out"] for p in frontier.points)
    text = frontier_markdown(frontier)
    assert text.count("| ● 46 % |") == on
    assert text.count("| 46 % |") == len(frontier.points) - on
