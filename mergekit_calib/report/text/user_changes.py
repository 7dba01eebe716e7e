"""What changes for users of a parent if they get the chosen model in its place."""

from __future__ import annotations

from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.parent_texts import nearest_parent
from mergekit_calib.results.findings import Changes, Estimate
from mergekit_calib.results.frontier import Frontier

_MOST_NAMED = 2  # parents that one statement compares with


def user_changes(frontier: Frontier) -> str:
    """Return how many answers of the choice differ from those of the parents, and in which direction.

    Of one or two parents, all are named, `aligned` first, since most users have it; of more, the nearest. Empty if
    the suite has no choices.
    """
    selected = frontier.selected
    if selected is None:
        return ""
    known = {role: c for role, c in selected.changes.items() if c.differ.value is not None}
    roles = [role for role in reversed(frontier.models) if role in known]
    if len(frontier.models) > _MOST_NAMED:
        nearest = nearest_parent(frontier, selected)
        roles = [role for role in roles if role == nearest] or roles[:1]
    if not roles:
        return ""
    clauses = [f"for users of {role}, {changes_clause(known[role])}" for role in roles]
    text = ". ".join(clause[0].upper() + clause[1:] for clause in clauses)
    return f"{text}. {KL_IS_NOT_QUALITY}"


KL_IS_NOT_QUALITY = "A divergence (KL) near 0 means that the probabilities stay the same, not that quality is kept."
"""What must be said beside every mean divergence."""


def changes_clause(changes: Changes) -> str:
    """Return `12.3 % [11.0, 13.6] of the answers change: …, mean KL 0.12 nats`."""
    return (
        f"{share(changes.differ)} of the answers change: {share(changes.wrong_to_correct)} from wrong to correct, "
        f"{share(changes.correct_to_wrong)} from correct to wrong; mean KL {formatting.with_interval(changes.kl)} nats"
    )


def share(estimate: Estimate) -> str:
    """Return a share and its interval in per cent, as `12.3 % [11.0, 13.6]`."""
    value, low, high = (None if x is None else 100 * x for x in (estimate.value, estimate.low, estimate.high))
    in_percent = Estimate(value=value, low=low, high=high, n=estimate.n)
    return f"{formatting.number(value, 1)} % {formatting.bracketed(in_percent, 1)}".rstrip()
