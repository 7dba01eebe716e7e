"""The answer of a sweep in four lines: what to ship, what it gains and loses, the main caveat, and where to look."""

from __future__ import annotations

from pathlib import Path

from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.caveat import main_caveat
from mergekit_calib.report.text.parent_texts import against_parents, parent_role
from mergekit_calib.results.choice_findings import Decided
from mergekit_calib.results.frontier import Frontier, PointResult
from mergekit_calib.results.names import point_name

_MOST_NAMED = 3  # points named in a sentence
_SEEN = "Whoever has seen the results and then names a point may have picked it for its luck on these items."
_BY_HAND = "All numbers are from one part of the items, the held-out split, unless they say otherwise."
_ON_SELECTION = (
    "The point is chosen on one part of the items, the selection split. All other numbers are from the rest, the "
    "held-out split, unless they say otherwise, so they are not biased by the choice."
)
_ON_ALL = (
    "The point is chosen on all items. Its gains in the answer are cross-fitted, so they are not biased by the choice: "
    "each split's choice is measured on the other split. All other numbers are from the held-out split, unless they "
    "say otherwise; the choice was made on its items too."
)


def answer_lines(
    frontier: Frontier, out_path: str | Path | None = None, card: bool = True
) -> tuple[str, str, str, str]:
    """Return the answer as four lines of plain text: ship what; gains and losses; the main caveat; where to look.

    Args:
        frontier: the sweep, finished or not.
        out_path: the output folder as the lines should name it; its name alone, if None.
        card: whether there is a model card to point to.
    """
    out = Path(out_path if out_path is not None else frontier.name or "out")
    selected = frontier.selected
    where = f"The report is {out / 'calibration' / 'report.html'}"
    where += f"; the model card is {out / 'README.md'}." if card and frontier.finished and selected else "."
    if selected is None:
        return _no_choice(frontier), _best_so_far(frontier), main_caveat(frontier), where
    return _ship(frontier, selected, out), _gain_and_loss(frontier, selected), main_caveat(frontier), where


def how_chosen(frontier: Frontier) -> list[str]:
    """Return two paragraphs: the rule with its reason, if a point is chosen, and which items the numbers are from."""
    paragraphs = []
    if frontier.selection is not None:
        reason = formatting.sentence(frontier, frontier.selection.reason).rstrip(".")
        rule = "Default rule" if frontier.selection.gave_way else f"Rule {frontier.selection.rule}"
        items = formatting.chosen_on(frontier)
        decided = frontier.selection.decided
        if decided is not None and decided.by == "point":
            paragraphs.append(f"{_named_by_a_person(frontier, decided)} {_SEEN}")
            return [*paragraphs, _BY_HAND]
        paragraphs.append(f"{rule}, on {items}: {reason}.{_gave_way(frontier)}{_asked_for(frontier)}")
    paragraphs.append(_ON_ALL if formatting.chosen_split(frontier) == "all" else _ON_SELECTION)
    return paragraphs


def _ship(frontier: Frontier, selected: PointResult, out: Path) -> str:
    """Return line 1. It also says if the rule gave way, and if another point dominates the choice on held-out items."""
    role = parent_role(frontier, selected)
    if not frontier.finished:
        n = formatting.counted(len(frontier.complete_points), "point")
        line = f"So far, with {n} scored, the choice is {formatting.name_with_role(selected)}."
    elif role is not None and _is_by_hand(frontier):
        line = f"{out}/ holds the {role} weights."
    elif role is not None:
        line = f"No merge beat the {role} model; {out}/ holds the {role} weights."
    else:
        line = f"Ship {selected.name}, written to {out}/."
    return f"{line}{_gave_way(frontier)}{_asked_for(frontier)}{_dominated(frontier, selected)}"


def _gave_way(frontier: Frontier) -> str:
    if frontier.selection is None or frontier.selection.gave_way is None:
        return ""
    reason = formatting.sentence(frontier, frontier.selection.gave_way).rstrip(".")
    return f" The rule {frontier.selection.rule} gave way to the default rule: {reason}."


def _is_by_hand(frontier: Frontier) -> bool:
    decided = frontier.selection.decided if frontier.selection else None
    return decided is not None and decided.by == "point"


def _asked_for(frontier: Frontier) -> str:
    """Say that a person has decided in place of the recipe's rule."""
    if frontier.selection is None or (decided := frontier.selection.decided) is None:
        return ""
    if decided.by == "point":
        return f" {_named_by_a_person(frontier, decided)}"
    same = frontier.selection.point == decided.instead_of
    chooses = "chooses the same" if same else f"chooses {point_name(decided.instead_of)}"
    asked = f"the rule {frontier.selection.rule} was asked for after the sweep"
    return f" {asked[:1].upper()}{asked[1:]}; the recipe's, {decided.rule}, {chooses}."


def _named_by_a_person(frontier: Frontier, decided: Decided) -> str:
    same = frontier.selection is not None and frontier.selection.point == decided.instead_of
    if same:
        return f"It was named by hand after the sweep, and the rule {decided.rule} chooses it too."
    return f"It was named by hand after the sweep; the rule {decided.rule} chooses {point_name(decided.instead_of)}."


def _dominated(frontier: Frontier, selected: PointResult) -> str:
    split = formatting.dominated_on(frontier, selected)
    if split is None:
        return ""
    by = [frontier.point(point_id).name for point_id in selected.dominated_by[split]]
    named = by if len(by) <= _MOST_NAMED else [*by[:_MOST_NAMED], f"{len(by) - _MOST_NAMED} more"]
    verb = "dominates" if len(by) == 1 else "dominate"
    each = "" if len(by) == 1 else " each"
    return (
        f" But on {formatting.SPLIT_NAMES[split]} {formatting.listed(named)} {verb} it:{each} at least as good in "
        "every objective and better in one, beyond chance."
    )


def _gain_and_loss(frontier: Frontier, selected: PointResult) -> str:
    """Return line 2: the differences to the parents, or the choice's own numbers if there are none."""
    return against_parents(frontier, selected) or f"On the held-out split it has {_values(frontier, selected)}."


def _no_choice(frontier: Frontier) -> str:
    complete = len(frontier.complete_points)
    failed = len(frontier.points) - complete
    yet = "" if frontier.finished else " yet"
    tail = f", {failed} failed" if failed else ""
    return f"No point is chosen{yet}: {formatting.counted(complete, 'point')} scored{tail}."


def _best_so_far(frontier: Frontier) -> str:
    """Return line 2 of a sweep without a choice: the scores of the parents."""
    scored = [f"{p.role}: {_values(frontier, p)}" for p in frontier.parents if p.status == "complete"]
    return f"{'; '.join(scored)}." if scored else "No parent is scored, so there is nothing to compare with."


def _values(frontier: Frontier, point: PointResult) -> str:
    parts = [
        f"{formatting.metric_name(objective)} {formatting.with_interval(point.estimate(objective))}"
        for objective in frontier.objectives
    ]
    return formatting.listed(parts)
