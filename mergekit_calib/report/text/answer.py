"""The answer of a sweep in words: the chosen point, its gains and costs, and whether it beats both parents."""

from __future__ import annotations

from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.outcomes import sort_outcomes
from mergekit_calib.results.frontier import Frontier, PointResult


def summary_sentence(frontier: Frontier) -> str:
    """Return the answer in a few short sentences of plain text: the choice first, then its gains and costs.

    Gains and costs are paired differences on the held-out split. A difference whose interval contains 0 is called not
    significant.
    """
    selected = frontier.selected
    if selected is None:
        return _without_choice(frontier)
    if selected.role is not None and frontier.finished:
        return f"{_parent_chosen(frontier, selected)} {_superiority(frontier, selected)}"
    name = formatting.name_with_role(selected)
    opening = f"{name} is chosen." if frontier.finished else f"So far, {name} is chosen."
    compared = _against_parents(frontier, selected)
    middle = compared or f"On the held-out split it has {_values(frontier, selected)}."
    return f"{opening} {middle} {_superiority(frontier, selected)}"


def how_chosen(frontier: Frontier) -> list[str]:
    """Return two paragraphs: the rule with its reason, if a point is chosen, and which split the numbers are from."""
    paragraphs = []
    if frontier.selection is not None:
        reason = formatting.sentence(frontier, frontier.selection.reason).rstrip(".")
        paragraphs.append(f"Rule {frontier.selection.rule}, on the selection split: {reason}.")
    paragraphs.append(
        "The point is chosen on one part of the items, the selection split. All other numbers are from the rest, the "
        "held-out split, unless they say otherwise, so they are not biased by the choice."
    )
    return paragraphs


def _without_choice(frontier: Frontier) -> str:
    complete = len(frontier.complete_points)
    failed = len(frontier.points) - complete
    yet = "" if frontier.finished else " yet"
    tail = f", {failed} failed" if failed else ""
    return f"No point is chosen{yet}: {formatting.counted(complete, 'point')} scored{tail}."


def _parent_chosen(frontier: Frontier, selected: PointResult) -> str:
    text = f"No merge beat the {selected.role} model; {frontier.name}/ holds the {selected.role} weights."
    rule = f"The rule {frontier.selection.rule}" if frontier.selection is not None else "The rule"
    return f"{text} {rule} chose {selected.name}, which has {_values(frontier, selected)} on the held-out split."


def _against_parents(frontier: Frontier, point: PointResult) -> str:
    compared = {
        role: outcomes
        for role in ("aligned", "base")
        if (outcomes := sort_outcomes(frontier.objectives, point.differences.get(role, {})))
    }
    if not compared:
        return ""
    text = ". ".join(f"Against {role}: {outcomes.clause()}" for role, outcomes in compared.items())
    return f"{text} (held-out split, {formatting.percent(frontier.level)} intervals)."


def _values(frontier: Frontier, point: PointResult) -> str:
    parts = [
        f"{formatting.metric_name(objective)} {formatting.with_interval(point.estimate(objective))}"
        for objective in frontier.objectives
    ]
    return formatting.listed(parts)


def _superiority(frontier: Frontier, selected: PointResult) -> str:
    """Return whether the chosen point is significantly better than both parents, and which other points are."""
    tests = {p.id: p.superiority for p in frontier.complete_points if p.superiority is not None}
    if not tests:
        return (
            "It was not tested whether a point is better than both parents: that takes the scores of both parents and "
            "of another point."
        )
    level = f"{formatting.percent(1 - frontier.level)} level"
    others = [p.name for p in frontier.complete_points if p is not selected and p.superiority and p.superiority.shown]
    named = formatting.listed(others) if 0 < len(others) <= 3 else formatting.counted(len(others), "point")
    better = "better than both parents on every objective"
    verb = "is" if len(others) == 1 else "are"
    if selected.superiority is None:
        if others:
            return f"{named} {verb} significantly {better} ({level})."
        return f"No point is significantly {better} ({level})."
    p = f"p {formatting.p_value(selected.superiority.p_adjusted)}"
    if selected.superiority.shown:
        return f"Significantly {better} ({level}, {p})."
    of_others = f"; {named} {verb}" if others else ""
    return f"Not significantly {better} ({p}){of_others}."
