"""The page's table of cross-fitted numbers: what the rule's choices gain on items that they were not chosen on."""

from __future__ import annotations

from dataclasses import dataclass

from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.outcomes import signed_difference
from mergekit_calib.results.frontier import Frontier


@dataclass(frozen=True)
class CrossFittedTable:
    """The cross-fitted numbers as text.

    Attributes:
        titles: the columns: the metric, its estimate, and the difference to each parent.
        rows: one row for each objective.
        caption: how to read it.
    """

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str


def cross_fitted_table(frontier: Frontier) -> CrossFittedTable | None:
    """Return the table; None unless the point was chosen on all items."""
    crossed = frontier.cross_fitted
    if crossed is None:
        return None
    roles = [role for role in frontier.models if role in crossed.differences]
    rows = []
    for objective in frontier.objectives:
        if objective.name not in crossed.estimates:
            continue
        found = [crossed.differences[role].get(objective.name) for role in roles]
        gains = [signed_difference(difference) if difference else formatting.UNDEFINED for difference in found]
        name = f"{objective.name} {formatting.arrow(objective)}"
        rows.append((name, formatting.with_interval(crossed.estimates[objective.name]), *gains))
    names = dict(zip(crossed.choices, formatting.names_of(frontier, crossed.choices.values()), strict=True))
    caption = (
        f"Each split's choice is measured on the other split: {names['selection']}, chosen on the selection split, on "
        f"the held-out split, and {names['held_out']}, chosen on the held-out split, on the selection split. So the "
        "numbers are not biased by the choice, and estimate how good the rule's choice is on new items. Brackets are "
        f"{formatting.percent(frontier.level)} intervals."
    )
    return CrossFittedTable(("metric", "the choices", *(f"minus {role}" for role in roles)), tuple(rows), caption)
