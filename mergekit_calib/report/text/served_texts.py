"""The written model as it will be served, in sentences: what serving it so costs, and how it compares then."""

from __future__ import annotations

from mergekit_calib.report.text.formatting import percent
from mergekit_calib.report.text.outcomes import sort_outcomes
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.results.served_findings import ServedCheck


def served_statements(frontier: Frontier) -> list[str]:
    """Return a paragraph for each form of serving that was checked."""
    return [_statement(frontier, check) for check in frontier.served]


def _statement(frontier: Frontier, check: ServedCheck) -> str:
    written, objectives = check.written, frontier.objectives
    name = frontier.point(written.point).name
    parts = []
    if outcomes := sort_outcomes(objectives, written.against_scored):
        parts.append(f"{name} as served ({check.form}), against {name} as the sweep scored it: {outcomes.clause()}")
    for role, differences in reversed(written.against_parents.items()):
        if outcomes := sort_outcomes(objectives, differences):
            parts.append(f"Against {role}, served alike: {outcomes.clause()}")
    return f"{'. '.join(parts)} (held-out split, {percent(frontier.level)} intervals)."
