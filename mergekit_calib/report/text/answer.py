"""The answer of a sweep in words: the chosen point, its gains and costs, and whether superiority is shown."""

from __future__ import annotations

from mergekit_calib.report.text import formatting
from mergekit_calib.results.frontier import Frontier, PointResult


def summary_sentence(frontier: Frontier) -> str:
    """What came out, answer first, in plain text of a few short sentences.

    Gains and costs are paired differences on the held-out split. One whose interval holds 0 is called no difference
    shown, whichever way its value points.
    """
    selected = frontier.selected
    if selected is None:
        done, failed = len(frontier.complete_points), len(frontier.points) - len(frontier.complete_points)
        tail = f", {failed} failed" if failed else ""
        return (
            f"No point is selected{'' if frontier.finished else ' yet'}: "
            f"{formatting.counted(done, 'point')} scored{tail}."
        )
    called = _called(selected)
    opening = f"{called[:1].upper() + called[1:] if selected.id == selected.role else called} is chosen"
    if not frontier.finished:
        opening = f"So far, {called} is chosen"
    against = [_against(frontier, selected, role) for role in ("aligned", "base")]
    against = [clause for clause in against if clause]
    if against:
        opening += f". On the held-out split, {'; '.join(against)}"
    else:
        opening += _values(frontier, selected)
    return f"{opening}. {_superiority(frontier, selected)}"


def _called(point: PointResult) -> str:
    if point.role is None:
        return point.id
    return (
        f"{point.id}, the {point.role} parent itself," if point.id != point.role else f"the {point.role} parent itself"
    )


def _against(frontier: Frontier, point: PointResult, role: str) -> str:
    differences = point.differences.get(role, {})
    sorted_by_outcome: dict[str, list[str]] = {"better": [], "worse": [], "open": []}
    for objective in frontier.objectives:
        difference = differences.get(objective.name)
        if difference is not None and difference.value is not None:
            text = formatting.difference(frontier, objective, difference)
            sorted_by_outcome[formatting.outcome(objective, difference)].append(text)
    words = {"better": "better in", "worse": "worse in", "open": "not shown to differ in"}
    clauses = [f"{words[outcome]} {formatting.listed(found)}" for outcome, found in sorted_by_outcome.items() if found]
    return f"against {role} it is {formatting.listed(clauses)}" if clauses else ""


def _values(frontier: Frontier, point: PointResult) -> str:
    parts = []
    for objective in frontier.objectives:
        estimate = point.estimate(objective)
        places = formatting.decimals([estimate])
        span = formatting.interval(estimate, places)
        parts.append(f"{objective.name} {formatting.number(estimate.value, places)}{f' ({span})' if span else ''}")
    return f", with {formatting.listed(parts)} on the held-out split"


def _superiority(frontier: Frontier, selected: PointResult) -> str:
    level = formatting.percent(1 - frontier.level)
    tested = [p for p in frontier.complete_points if p.superiority is not None]
    if not tested:
        return "Pareto-superiority over both parents was not tested: it needs both parents and a point between scored."
    shown = [p.id for p in tested if p.superiority is not None and p.superiority.shown]
    others = [name for name in shown if name != selected.id]
    named = formatting.listed(others) if 0 < len(others) <= 3 else formatting.counted(len(others), "point")
    claim = "Pareto-superiority over both parents is"
    if selected.superiority is None:
        return (
            f"{claim} shown at the {level} level for {named}."
            if others
            else f"{claim} not shown for any point at the {level} level."
        )
    p = formatting.p_value(selected.superiority.p_adjusted)
    if selected.superiority.shown:
        return f"{claim} shown at the {level} level (adjusted p {p})."
    elsewhere = f"; it is shown for {named}" if others else ""
    return f"{claim} not shown at the {level} level (adjusted p {p}){elsewhere}."
