"""The parents in sentences: how many they are, which of them a point is, and how a point compares with them."""

from __future__ import annotations

from collections.abc import Mapping

from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.outcomes import half_widths, sort_outcomes
from mergekit_calib.report.text.rule_measures import proper_scores
from mergekit_calib.results.frontier import Frontier, PointResult


def every_parent(frontier: Frontier) -> str:
    """Return `the parent`, `both parents` or `every parent`, by how many models the recipe names."""
    return {1: "the parent", 2: "both parents"}.get(len(frontier.models), "every parent")


def parent_role(frontier: Frontier, point: PointResult) -> str | None:
    """Return the role of the parent whose weights a point has: its own, or that of the point that it is a copy of."""
    if point.role is not None or point.same_as is None:
        return point.role
    return next((p.role for p in frontier.points if p.id == point.same_as), None)


def against_parents(frontier: Frontier, point: PointResult) -> str:
    """Return how a point compares with the parents, objective by objective, with intervals; empty if it is not known.

    Of one or two parents, all are named. Of more, the nearest to the point and the best one are; the page and the card
    have the others.
    """
    text = ". ".join(_against(frontier, point, _titles(frontier, point)))
    crossed = frontier.cross_fitted if point.selected else None
    items = "held-out split"
    if crossed is not None:
        n = formatting.counted(max(estimate.n for estimate in crossed.estimates.values()), "item")
        items = f"all {n}" if len(set(crossed.choices.values())) == 1 else f"cross-fitted on {n}"
    return f"{text} ({items}, {formatting.percent(frontier.level)} intervals)." if text else ""


def against_other_parents(frontier: Frontier) -> list[str]:
    """Return how the choice compares with each parent that `against_parents` does not name, a sentence for each."""
    selected = frontier.selected
    if selected is None:
        return []
    named = _titles(frontier, selected)
    others = {role: role for role in frontier.models if role not in named}
    return [f"{clause}." for clause in _against(frontier, selected, others)]


def nearest_parent(frontier: Frontier, point: PointResult) -> str | None:
    """Return the role of the parent that a point is most like; None if no difference to a parent is known.

    It is the parent of least mean Kullback-Leibler divergence over the choices; without choices, the one with the
    smallest differences in the objectives, each divided by half the width of its interval.
    """
    divergences = {
        role: changes.kl.value
        for role, changes in point.changes.items()
        if role in point.differences and changes.kl.value is not None
    }
    if divergences:
        return min(divergences, key=lambda role: divergences[role])
    sizes = {role: half_widths(frontier.objectives, found) for role, found in point.differences.items()}
    return min(sizes, key=lambda role: sizes[role], default=None)


def best_parent(frontier: Frontier) -> str | None:
    """Return the role of the parent that is best on the items chosen on; None if no parent was scored.

    Best means: by the first proper score that the rules look at (`Frontier.rule_scores`), such as NLL; without one, by
    the first objective.
    """
    measure = [*proper_scores(frontier), frontier.objectives[0]][0]
    sign = 1.0 if measure.direction == "maximize" else -1.0
    values = {
        parent.role: value
        for parent in frontier.parents
        if parent.role is not None
        and (value := parent.estimate(measure, formatting.chosen_split(frontier)).value) is not None
    }
    return max(values, key=lambda role: sign * values[role], default=None)


def _against(frontier: Frontier, point: PointResult, titles: Mapping[str, str]) -> list[str]:
    """Return a clause for each role in `titles` that the point was compared with."""
    crossed = frontier.cross_fitted if point.selected else None
    differences = point.differences if crossed is None else crossed.differences
    return [
        f"Against {title}: {outcomes.clause()}"
        for role, title in titles.items()
        if role != point.role and (outcomes := sort_outcomes(frontier.objectives, differences.get(role, {})))
    ]


def _titles(frontier: Frontier, point: PointResult) -> dict[str, str]:
    """Return role → how line 2 calls that parent, for the parents that it names, in their order."""
    if len(frontier.models) <= 2:
        # The last one first: it is what most readers would otherwise use.
        return {role: role for role in reversed(frontier.models)}
    nearest, best = nearest_parent(frontier, point), best_parent(frontier)
    if best == nearest:
        return {} if best is None else {best: f"{best}, the nearest and the best parent"}
    titles = {role: f"{role}, the {which} parent" for role, which in ((nearest, "nearest"), (best, "best")) if role}
    return {role: title for role, title in titles.items() if role in point.differences}
