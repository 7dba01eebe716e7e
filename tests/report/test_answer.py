"""The answer is four lines on which a reader can act: what to ship, gains and losses, one caveat, where to look."""

from __future__ import annotations

import pytest

from helpers.report_comparisons import BETTER, NEITHER, WORSE, compared, sound, splits
from helpers.report_factory import make_frontier
from mergekit_calib.report.text.answer import answer_lines, how_chosen
from mergekit_calib.report.text.parent_texts import best_parent, nearest_parent
from mergekit_calib.results.choice_findings import CrossFitted, Selection
from mergekit_calib.results.findings import Difference, Estimate
from mergekit_calib.results.frontier import Frontier


def test_the_first_line_says_what_to_ship_and_the_last_where_to_look() -> None:
    first, _, _, last = answer_lines(sound(), "runs/out")
    assert first == "Ship λ = 0.6, written to runs/out/."
    assert "runs/out/calibration/report.html" in last
    assert "runs/out/README.md" in last
    assert "README.md" not in answer_lines(sound(), "runs/out", card=False)[3]


def test_without_a_path_the_lines_name_the_output_folder() -> None:
    lines = answer_lines(sound())
    assert "written to demo-run/" in lines[0]
    assert "demo-run/calibration/report.html" in lines[3]


def test_the_second_line_gives_each_objective_against_both_parents() -> None:
    frontier = sound()
    frontier.point("lambda=0.6").differences = {"aligned": compared(BETTER, WORSE), "base": compared(NEITHER, BETTER)}
    assert answer_lines(frontier)[1] == (
        "Against aligned: better in accuracy (+0.020 [0.010, 0.030]) and worse in ECE (+0.020 [0.010, 0.030]). "
        "Against base: better in ECE (−0.020 [−0.030, −0.010]); no significant difference in accuracy "
        "(+0.005 [−0.010, 0.020]) (held-out split, 95 % intervals)."
    )


@pytest.mark.parametrize(
    ("chosen", "role", "other"), [("lambda=0", "base", "aligned"), ("lambda=1", "aligned", "base")]
)
def test_a_parent_that_is_chosen_is_said_to_be_one_and_compared_with_the_other(chosen, role, other) -> None:
    first, second, *_ = answer_lines(make_frontier(select=chosen))
    assert first.startswith(f"No merge beat the {role} model; demo-run/ holds the {role} weights.")
    assert second.startswith(f"Against {other}: ")
    assert f"Against {role}" not in second


def test_a_point_with_the_weights_of_a_parent_is_said_to_be_that_parent() -> None:
    frontier = make_frontier(select="lambda=0.6")
    frontier.point("lambda=0.6").same_as = "lambda=0"
    assert answer_lines(frontier)[0].startswith("No merge beat the base model")


def test_the_first_line_says_if_the_rule_gave_way() -> None:
    frontier = sound()
    frontier.selection = Selection(
        rule="max", point="lambda=0.6", reason="lambda=0.6 has the best nll", gave_way="none of 5 points has acc ≥ 0.9"
    )
    first = answer_lines(frontier)[0]
    assert first.startswith("Ship λ = 0.6")
    assert "The rule max gave way to the default rule: none of 5 points has acc ≥ 0.9." in first
    assert how_chosen(frontier)[0].startswith("Default rule, on the selection split: λ = 0.6 has the best nll.")


def test_the_first_line_says_which_points_dominate_the_choice_on_the_held_out_split() -> None:
    frontier = sound()
    frontier.point("lambda=0.6").dominated_by = {"selection": [], "held_out": ["lambda=0.3"]}
    assert "on the held-out split λ = 0.3 dominates it" in answer_lines(frontier)[0]
    frontier.point("lambda=0.6").dominated_by = {"held_out": ["lambda=0", "lambda=0.3", "lambda=1", "lambda=1.3"]}
    assert "λ = 0, λ = 0.3, λ = 1 and 1 more dominate it" in answer_lines(frontier)[0]
    frontier.point("lambda=0.6").dominated_by = {"selection": ["lambda=0.3"], "held_out": []}
    assert "dominate" not in answer_lines(frontier)[0]


def chosen_on_all(on_selection: str, on_held_out: str, **differences: dict[str, Difference]) -> Frontier:
    """A sweep whose rule chose λ = 0.6 on all items, and these points on each split alone."""
    frontier = sound()
    frontier.selection = Selection(rule="least", point="lambda=0.6", reason="it has the best nll", split="all")
    frontier.splits = splits(on_held_out, {"lambda=0.6": 1.0}, **differences)
    estimates = {o.name: Estimate(value=0.5, low=0.4, high=0.6, n=5000) for o in frontier.objectives}
    frontier.cross_fitted = CrossFitted(
        choices={"selection": on_selection, "held_out": on_held_out},
        estimates=estimates,
        differences={"base": compared(BETTER, NEITHER), "aligned": compared(BETTER, BETTER)},
    )
    return frontier


def test_gains_of_a_choice_on_all_items_are_cross_fitted() -> None:
    agreed = answer_lines(chosen_on_all("lambda=0.6", "lambda=0.6"))[1]
    assert agreed.startswith("Against aligned: better in accuracy (+0.020 [0.010, 0.030]) and ECE")
    assert agreed.endswith("(all 5,000 items, 95 % intervals).")
    assert answer_lines(chosen_on_all("lambda=0.6", "lambda=0.3"))[1].endswith(
        "(cross-fitted on 5,000 items, 95 % intervals)."
    )


def test_a_parent_chosen_on_all_items_is_not_compared_with_itself() -> None:
    frontier = chosen_on_all("lambda=0", "lambda=0")
    for point in frontier.points:
        point.selected = point.id == "lambda=0"
    assert "Against base" not in answer_lines(frontier)[1]


def test_how_a_point_was_chosen_on_all_items_is_said_with_where_the_gains_come_from() -> None:
    rule, items = how_chosen(chosen_on_all("lambda=0.6", "lambda=0.3"))
    assert rule == "Rule least, on all items: it has the best nll."
    assert "cross-fitted" in items


def test_a_choice_on_all_items_that_is_dominated_on_either_split_says_on_which() -> None:
    frontier = chosen_on_all("lambda=0.6", "lambda=0.3")
    frontier.point("lambda=0.6").dominated_by = {"all": [], "selection": ["lambda=0.3"], "held_out": []}
    assert "on the selection split λ = 0.3 dominates it" in answer_lines(frontier)[0]


def test_of_many_parents_the_nearest_and_the_best_are_compared() -> None:
    frontier = make_frontier({"weight": [0.2, 0.4]}, select="weight=0.4", roles=("base", "math", "code", "chat"))
    selected = frontier.selected
    assert selected is not None
    divergences = {role: changes.kl.value for role, changes in selected.changes.items()}
    nearest = min(divergences, key=divergences.get)
    assert nearest_parent(frontier, selected) == nearest
    accuracies = {p.role: p.estimate(frontier.objectives[0], "selection").value for p in frontier.parents}
    best = max(accuracies, key=accuracies.get)
    assert best_parent(frontier) == best
    second = answer_lines(frontier)[1]
    assert f"Against {nearest}, the nearest" in second
    assert f"{best}, the best" in second or (best == nearest and "the nearest and the best parent" in second)
    assert second.count("Against") == len({nearest, best})


def test_without_choices_the_nearest_parent_is_the_one_with_the_smallest_differences() -> None:
    frontier = make_frontier({"weight": [0.2]}, select="weight=0.2", roles=("base", "math", "code"))
    selected = frontier.selected
    assert selected is not None
    selected.changes = {}
    selected.differences = {"base": compared(BETTER, BETTER), "math": compared(NEITHER, NEITHER)}
    assert nearest_parent(frontier, selected) == "math"


def test_the_best_parent_is_the_one_with_the_best_proper_score() -> None:
    frontier = make_frontier({"weight": [0.2]}, roles=("base", "math", "code"))
    frontier.rule_scores["brier"] = frontier.rule_scores["brier"].model_copy(update={"proper": True})
    for parent, brier in zip(frontier.parents, (0.3, 0.2, 0.4), strict=True):
        parent.metrics["suite"]["brier"]["selection"] = Estimate(value=brier)
    assert best_parent(frontier) == "math"


def test_one_model_is_compared_with_itself_unchanged() -> None:
    frontier = make_frontier({"scale": [0.5, 1.5]}, select="scale=0.5", roles=("base",))
    first, second, *_ = answer_lines(frontier)
    assert first.startswith("Ship scale = 0.5")
    assert second.startswith("Against base: ")


def test_a_choice_that_no_parent_can_be_compared_with_gives_its_own_numbers() -> None:
    frontier = make_frontier(select="lambda=0.6")
    frontier.point("lambda=0.6").differences = {}
    assert answer_lines(frontier)[1].startswith("On the held-out split it has accuracy 0.")


def test_a_running_sweep_says_that_it_is_not_finished() -> None:
    first, _, caveat, last = answer_lines(make_frontier(select="lambda=0", finished=False))
    assert first.startswith("So far, with 5 points scored, the choice is λ = 0 (base).")
    assert "not finished" in caveat
    assert "model card" not in last


def test_a_sweep_without_a_choice_counts_its_points_and_gives_the_parents_scores() -> None:
    lines = answer_lines(make_frontier(select=None, finished=False, failed=("lambda=0.3",)))
    assert lines[0] == "No point is chosen yet: 4 points scored, 1 failed."
    assert lines[1].startswith("base: accuracy 0.")
    empty = answer_lines(make_frontier(select=None, points=[]))
    assert empty[0] == "No point is chosen: 0 points scored."
    assert "no model to ship" in empty[2]
