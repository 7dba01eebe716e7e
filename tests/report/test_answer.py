"""The answer is four lines on which a reader can act: what to ship, gains and losses, one caveat, where to look."""

from __future__ import annotations

import pytest

from helpers.report_comparisons import BETTER, NEITHER, WORSE, compared
from helpers.report_factory import make_frontier
from mergekit_calib.report.text.answer import answer_lines, how_chosen
from mergekit_calib.report.text.caveat import CAVEATS, main_caveat
from mergekit_calib.report.text.parent_texts import best_parent, nearest_parent
from mergekit_calib.results.findings import Baseline, BothSplits, CrossFitted, Difference, Estimate, Selection
from mergekit_calib.results.frontier import Frontier, PointResult, Superiority


def sound(**fields: object) -> Frontier:
    """A sweep to which no caveat applies: λ = 0.6 is better than both parents and chosen on both splits."""
    frontier = make_frontier(select="lambda=0.6", **fields)
    chosen = frontier.point("lambda=0.6")
    chosen.superiority = Superiority(shown=True, p=0.001, p_adjusted=0.01)
    chosen.dominated_by = {}
    frontier.detectable = {"acc": 0.02, "ece": 0.02}
    return frontier


def with_baseline(frontier: Frontier, differences: dict[str, Difference], **fields: object) -> Frontier:
    known = {"id": "aligned+T", "kind": "temperature", "of": ["lambda=1"], "temperatures": {"calib_demo": 1.83}}
    baseline = Baseline(**known | {"differences": {"lambda=0.6": differences}} | fields)
    frontier.baselines = [*frontier.baselines, baseline]
    return frontier


def splits(other: str, shares: dict[str, float], **differences: dict[str, Difference]) -> BothSplits:
    """The choices of both splits: λ = 0.6, and `other` on the held-out split."""
    chosen = {"selection": "lambda=0.6", "held_out": other}
    return BothSplits(
        choices={split: Selection(rule="knee", point=point, reason="") for split, point in chosen.items()},
        on_other_split={},
        differences=differences,
        choice_shares=shares,
    )


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


def test_splits_that_choose_points_that_differ_are_the_caveat_of_a_choice_on_all_items() -> None:
    frontier = chosen_on_all("lambda=0.6", "lambda=0.3", selection=compared(NEITHER, WORSE))
    assert main_caveat(frontier) == (
        "The choice is uncertain: the selection split alone would pick λ = 0.6, the held-out split λ = 0.3."
    )
    alike = chosen_on_all("lambda=0.6", "lambda=0.3", selection=compared(NEITHER, NEITHER))
    assert "uncertain" not in main_caveat(alike)


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


def test_there_is_no_caveat_if_none_applies() -> None:
    assert main_caveat(sound()).startswith("No caveat: ")
    frontier = with_baseline(sound(splits=splits("lambda=0.6", {"lambda=0.6": 0.9})), compared(BETTER, NEITHER))
    assert main_caveat(frontier).startswith("No caveat: no baseline does as well, the choice is stable")


def test_no_other_caveat_applies_if_the_first_line_has_one() -> None:
    frontier = sound()
    frontier.point("lambda=0.6").dominated_by = {"held_out": ["lambda=0.3"]}
    assert main_caveat(frontier).startswith("No other caveat: ")


def test_an_objective_that_a_baseline_does_not_have_is_said_to_be_unknown() -> None:
    frontier = with_baseline(sound(), {"acc": compared(NEITHER, WORSE)["acc"]})
    assert main_caveat(frontier).endswith("Its ECE is not known.")


def test_a_baseline_that_is_better_is_named_with_its_cost_and_the_differences() -> None:
    frontier = with_baseline(sound(), compared(NEITHER, WORSE))
    caveat = main_caveat(frontier)
    assert caveat.startswith("A baseline is better: aligned with T = 1.83, which needs no merge.")
    assert "λ = 0.6 against it: worse in ECE" in caveat
    blend = {"id": "base|aligned", "kind": "blend", "of": ["lambda=0", "lambda=1"], "at": 0.25, "models_run": 2}
    caveat = main_caveat(with_baseline(sound(), compared(WORSE, NEITHER), temperatures={}, **blend))
    assert "the blended log-probabilities of base and aligned at λ = 0.25" in caveat
    assert "runs 2 models for each answer" in caveat


def test_a_baseline_that_is_better_in_one_and_worse_in_another_objective_is_no_caveat() -> None:
    assert main_caveat(with_baseline(sound(), compared(BETTER, WORSE))).startswith("No caveat")


def test_a_baseline_that_is_better_at_5_but_not_at_1_percent_does_as_well() -> None:
    barely = {name: d.model_copy(update={"p": 0.98}) for name, d in compared(NEITHER, WORSE).items()}
    assert main_caveat(with_baseline(sound(), barely)).startswith("A baseline does as well: aligned with T = 1.83")


def test_a_baseline_of_long_tables_alone_is_no_caveat() -> None:
    assert main_caveat(with_baseline(sound(), compared(NEITHER, WORSE), shown=False)).startswith("No caveat")


def test_a_temperature_of_the_chosen_merge_is_no_caveat_since_it_needs_the_merge() -> None:
    own = with_baseline(sound(), compared(NEITHER, WORSE), id="lambda=0.6+T", of=["lambda=0.6"])
    assert main_caveat(own).startswith("No caveat")


def few_items(frontier: Frontier) -> Frontier:
    frontier.detectable = {"acc": 0.061, "ece": 0.02}
    return frontier


def with_splits(frontier: Frontier, change: dict[str, Difference]) -> Frontier:
    disagreeing = splits("lambda=0.3", {"lambda=0.3": 0.6, "lambda=0.6": 0.4}, held_out=compared(NEITHER, WORSE))
    return frontier.model_copy(update={"splits": disagreeing.model_copy(update={"difference_in_differences": change})})


def failed(frontier: Frontier) -> Frontier:
    frontier.points.append(PointResult(id="lambda=0.9", axes={"lambda": 0.9}, recipe="", status="failed"))
    return frontier


def not_superior(frontier: Frontier) -> Frontier:
    frontier.point("lambda=0.6").superiority = Superiority(shown=False, p=0.4, p_adjusted=0.9)
    return frontier


def test_the_caveat_that_matters_most_comes_first() -> None:
    """Each step adds what matters more than all before it."""
    frontier = not_superior(sound())
    assert main_caveat(frontier) == "Not shown to be better than both parents in every objective."
    blend = {"id": "base|aligned", "kind": "blend", "of": ["lambda=0", "lambda=1"], "at": 0.25, "models_run": 2}
    with_baseline(frontier, compared(NEITHER, NEITHER), temperatures={}, **blend)
    assert "does as well" in main_caveat(frontier)
    frontier = frontier.model_copy(update={"splits": splits("lambda=0.6", {"lambda=0.3": 0.6, "lambda=0.6": 0.4})})
    assert "in 40 % of resamples, most often else λ = 0.3" in main_caveat(frontier)
    frontier.axes = {"lambda": [0.0, 0.6]}
    assert "the end of the λ axis" in main_caveat(frontier)
    failed(frontier)
    assert "1 of 6 points failed and were not compared: λ = 0.9." in main_caveat(frontier)
    frontier = with_splits(frontier, {})
    assert "on the held-out split the rule would pick λ = 0.3" in main_caveat(frontier)
    with_baseline(frontier, compared(NEITHER, NEITHER))
    assert "does as well: aligned with T = 1.83, which needs no merge." in main_caveat(frontier)
    few_items(frontier)
    assert "600 held-out items are few: a true difference of less than 0.061 in accuracy" in main_caveat(frontier)
    with_baseline(frontier, compared(WORSE, NEITHER), id="aligned+T*", uses_labels=False)
    assert "A baseline is better: aligned with T = 1.83, fitted without labels" in main_caveat(frontier)
    frontier = with_splits(frontier, {"acc": Difference(value=-0.06, low=-0.1, high=-0.03, n=600)})
    assert main_caveat(frontier).startswith("The splits differ significantly")
    frontier.finished = False
    assert "not finished" in main_caveat(frontier)
    assert all(caveat(frontier) for caveat in CAVEATS)


def test_a_choice_that_is_dominated_is_not_called_uncertain_again() -> None:
    frontier = with_splits(sound(), {})
    frontier.point("lambda=0.6").dominated_by = {"held_out": ["lambda=0.3"]}
    assert "would pick" not in main_caveat(frontier)


def test_a_categorical_axis_has_no_end() -> None:
    frontier = make_frontier({"lambda": [0.5, 1.5], "density": [0.3, 0.6]}, select="lambda=0.5,density=0.3")
    frontier.axes = {"method": ["ties", "dare"]}
    assert "axis" not in main_caveat(frontier)
