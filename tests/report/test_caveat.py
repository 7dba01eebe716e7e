"""The third line of the answer is the one caveat that matters most, by a stated order."""

from __future__ import annotations

import pytest

from helpers.report_comparisons import BETTER, NEITHER, WORSE, compared, sound, splits, with_baseline
from helpers.report_factory import make_frontier
from mergekit_calib.report.text.caveat import CAVEATS, main_caveat
from mergekit_calib.report.text.outcomes import negated
from mergekit_calib.results.choice_findings import Selection
from mergekit_calib.results.findings import Difference
from mergekit_calib.results.frontier import Frontier, PointResult, Superiority


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
    assert "on the held-out split alone the rule would pick λ = 0.3" in main_caveat(frontier)
    with_baseline(frontier, compared(NEITHER, NEITHER))
    assert "does as well: aligned with T = 1.83, which needs no merge." in main_caveat(frontier)
    few_items(frontier)
    assert "600 items are few: a true difference of less than 0.061 in accuracy" in main_caveat(frontier)
    with_baseline(frontier, compared(WORSE, NEITHER), id="aligned+T*", uses_labels=False)
    assert "A baseline is better: aligned with T = 1.83, fitted without labels" in main_caveat(frontier)
    frontier = with_splits(frontier, {"acc": Difference(value=-0.06, low=-0.1, high=-0.03, n=600)})
    assert main_caveat(frontier).startswith("The splits differ significantly")
    frontier.finished = False
    assert "not finished" in main_caveat(frontier)
    assert all(caveat(frontier) for caveat in CAVEATS)


@pytest.mark.parametrize(
    ("differences", "clause"),
    [
        ({"selection": (BETTER, NEITHER), "held_out": (NEITHER, BETTER)}, None),
        ({"selection": (NEITHER, NEITHER), "held_out": (NEITHER, NEITHER)}, None),
        ({"selection": (WORSE, NEITHER)}, "Against it, on the selection split, λ = 0.6 is worse in accuracy (−0.020 ["),
        ({"held_out": (NEITHER, WORSE)}, "Against it, on the held-out split, λ = 0.6 is worse in ECE (+0.020 ["),
    ],
)
@pytest.mark.parametrize("chosen_by", ["selection", "held_out"])
def test_splits_that_disagree_are_a_caveat_only_if_the_choice_is_worse_on_one(differences, clause, chosen_by) -> None:
    if chosen_by == "selection":
        by_split = {split: compared(*gains) for split, gains in differences.items()}
        frontier = sound(splits=splits("lambda=0.3", {}, **by_split))
    else:  # λ = 0.6 is the held-out split's choice: differences are the other point's minus its own
        by_split = {split: {n: negated(d) for n, d in compared(*g).items()} for split, g in differences.items()}
        apart = splits("lambda=0.6", {}, **by_split)
        choices = apart.choices | {"selection": Selection(rule="knee", point="lambda=0.3", reason="")}
        frontier = sound(splits=apart.model_copy(update={"choices": choices}))
    caveat = main_caveat(frontier)
    assert caveat.startswith("No caveat") if clause is None else clause in caveat


def test_a_choice_on_all_items_that_neither_split_makes_is_uncertain() -> None:
    apart = splits("lambda=0.3", {})
    choices = apart.choices | {"selection": Selection(rule="knee", point="lambda=1.3", reason="")}
    caveat = main_caveat(sound(splits=apart.model_copy(update={"choices": choices})))
    assert "the selection split alone would pick λ = 1.3, the held-out split λ = 0.3." in caveat


def test_a_choice_that_is_dominated_is_not_called_uncertain_again() -> None:
    frontier = with_splits(sound(), {})
    frontier.point("lambda=0.6").dominated_by = {"held_out": ["lambda=0.3"]}
    assert "would pick" not in main_caveat(frontier)


def test_a_categorical_axis_has_no_end() -> None:
    frontier = make_frontier({"lambda": [0.5, 1.5], "density": [0.3, 0.6]}, select="lambda=0.5,density=0.3")
    frontier.axes = {"method": ["ties", "dare"]}
    assert "axis" not in main_caveat(frontier)
