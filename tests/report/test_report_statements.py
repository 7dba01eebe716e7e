"""Statements give each result with its numbers, in favour of merging or not; without a result there is none."""

from __future__ import annotations

from helpers.report_comparisons import BETTER, NEITHER, WORSE, assert_holds, compared, with_baselines
from helpers.report_factory import make_frontier
from mergekit_calib.report.card.model_card import model_card
from mergekit_calib.report.page import report_html
from mergekit_calib.report.tables.markdown import escape_markdown, frontier_markdown
from mergekit_calib.report.text.answer import answer_lines
from mergekit_calib.report.text.split_texts import both_splits
from mergekit_calib.report.text.statements import extrapolation, hypervolume, optima, smallest_shown, statements
from mergekit_calib.report.text.user_changes import user_changes
from mergekit_calib.results.choice_findings import BothSplits, Selection
from mergekit_calib.results.findings import Estimate, FrontierUncertainty, Optimum, Trend


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
    text = both_splits(make_frontier(splits=splits("lambda=0.6")))
    assert_holds(text, "Both splits agree", "λ = 0.6", "on the selection split", "0.720 [0.600, 0.800]", "0.060")
    assert "uncertain" not in text


def test_splits_that_disagree_give_the_other_choice_and_whether_the_two_differ() -> None:
    apart = splits("lambda=0.3", selection=compared(NEITHER, WORSE), held_out=compared(BETTER, WORSE))
    text = both_splits(make_frontier(splits=apart))
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
    text = both_splits(make_frontier(splits=one))
    assert_holds(text, "On the selection split, λ = 0.6 against λ = 0.3: no significant difference in accuracy")
    assert_holds(text, "On the held-out split, λ = 0.6 against λ = 0.3: worse in accuracy (−0.020 [−0.030, −0.010])")


def test_the_most_frequent_choices_under_resampling_are_listed() -> None:
    few = splits("lambda=0.6").model_copy(update={"choice_shares": {"lambda=0.6": 0.7049, "lambda=0.3": 0.2951}})
    assert_holds(both_splits(make_frontier(splits=few)), "Under resampling: 0.6 (70 %), 0.3 (30 %).")
    several = {"lambda=0.6,density=0.5": 0.6, "lambda=0.6,density=0.7": 0.4}
    text = both_splits(make_frontier(splits=few.model_copy(update={"choice_shares": several})))
    assert_holds(text, "λ = 0.6, density = 0.5 (60 %)", "λ = 0.6, density = 0.7 (40 %)")
    many = splits("lambda=0.6").model_copy(update={"choice_shares": {f"p{i}": 0.2 for i in range(5)}})
    text = both_splits(make_frontier(splits=many))
    assert_holds(text, "p0 (20 %), p1 (20 %), p2 (20 %), 2 others")
    assert "p3" not in text


def test_hypervolume_is_printed_with_interval_and_reference() -> None:
    uncertainty = FrontierUncertainty(
        reference={"acc": 0.76234, "ece": 0.11288},
        hypervolume=Estimate(value=0.00242, low=0.00081, high=0.0039, n=600),
        of_parents=Estimate(value=0.0, low=0.0, high=0.0, n=600),
    )
    text = hypervolume(make_frontier(uncertainty=uncertainty))
    assert_holds(text, "0.0024 [0.00081, 0.0039]", "parents alone: 0 [0, 0]", "accuracy 0.762, ECE 0.113")


def trend(objective: str, low: float, high: float, p_monotone: float = 1.0) -> Trend:
    tau = Estimate(value=(low + high) / 2, low=low, high=high, n=4)
    return Trend(objective=objective, lambdas=[1, 1.2, 1.4, 1.6], tau=tau, fitted=[0, 0, 0, 0], p_monotone=p_monotone)


def test_a_trend_is_stated_only_if_its_interval_excludes_0() -> None:
    text = extrapolation(make_frontier(trends=[trend("acc", -0.6, 0.2), trend("ece", 0.6, 1.0)]))
    assert_holds(text, "From λ = 1 to 1.6 (4 points)", "no significant trend in accuracy", "−0.20 [−0.60, 0.20]")
    assert_holds(text, "ECE rises", "+0.80 [0.60, 1.00]")
    turning = extrapolation(make_frontier(trends=[trend("acc", -0.9, -0.3, p_monotone=0.004)]))
    assert_holds(turning, "accuracy falls, but not monotonically, p = 0.004")


def test_optima_are_printed_with_their_intervals() -> None:
    best = [Optimum(objective="acc", axis="lambda", at=0.3, low=0.2, high=0.6)]
    assert_holds(optima(make_frontier(optima=best)), "accuracy at λ = 0.3 [0.2, 0.6]")


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


def test_the_share_of_resamples_on_the_frontier_stands_in_its_column() -> None:
    frontier = make_frontier()
    for point in frontier.points:
        point.frontier_probability = 0.4567
    on = sum(p.on_frontier["held_out"] for p in frontier.points)
    text = frontier_markdown(frontier)
    assert text.count("| ● 46 % |") == on
    assert text.count("| 46 % |") == len(frontier.points) - on


def test_what_changes_for_users_has_both_directions_and_says_that_kl_is_not_quality() -> None:
    frontier = make_frontier(select="lambda=0.6")
    changes = frontier.point("lambda=0.6").changes
    text = user_changes(frontier)
    shares = [changes["aligned"].differ, changes["aligned"].wrong_to_correct, changes["aligned"].correct_to_wrong]
    assert_holds(text, "For users of aligned", *(f"{100 * share.value:.1f} % [" for share in shares), "mean KL")
    assert_holds(text, "For users of base", f"{100 * changes['base'].differ.value:.1f} %", "not that quality is kept")
    frontier.point("lambda=0.6").changes = {}
    assert user_changes(frontier) == ""


def test_of_many_parents_what_changes_is_said_for_users_of_the_nearest() -> None:
    frontier = make_frontier({"weight": [0.2]}, roles=("base", "math", "code"), select="weight=0.2")
    nearest = min(frontier.point("weight=0.2").changes.items(), key=lambda item: item[1].kl.value)[0]
    text = user_changes(frontier)
    assert text.startswith(f"For users of {nearest}, ")
    assert text.lower().count("for users of") == 1


def test_the_smallest_difference_that_could_show_is_given_for_each_objective() -> None:
    text = smallest_shown(make_frontier(detectable={"acc": 0.0412, "ece": None}))
    assert_holds(text, "with 80 % probability", "accuracy 0.041")
    assert "ECE" not in text


def test_every_parent_that_the_answer_leaves_out_is_compared_in_a_statement() -> None:
    frontier = make_frontier({"weight": [0.2]}, roles=("base", "math", "code", "chat"), select="weight=0.2")
    lines = [*answer_lines(frontier), *statements(frontier)]
    for role in frontier.models:
        assert sum(line.count(f"Against {role}") for line in lines) == 1
