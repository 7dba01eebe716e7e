"""Notes on objectives that are the worst task's: which tasks were left out, and how it is biased."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.items.scopes import FEWEST_ITEMS_OF_WORST, Scopes, describe_tables
from mergekit_calib.items.store import Tables
from mergekit_calib.results.findings import WORST, Objective
from mergekit_calib.results.frontier import PointResult

_MOST_NAMED = 10  # tasks named in a note


def notes_of_worst(
    objectives: Sequence[Objective], chosen: PointResult | None, tables: Mapping[str, Tables]
) -> list[str]:
    """Return a sentence or more on the objectives that are the worst task's; nothing if there is none.

    Args:
        objectives: the sweep's objectives.
        chosen: the point that was chosen.
        tables: point id → its scores, of the chosen point at least.
    """
    of_worst = [o for o in objectives if o.scope == WORST]
    if not of_worst or chosen is None or chosen.id not in tables:
        return []
    scopes = Scopes(describe_tables(tables[chosen.id]), BUILT_IN)
    names = ", ".join(o.name for o in of_worst)
    note = (
        f"{names}: the worst of {len(scopes.tasks_of_worst)} tasks. The worst of several noisy values overstates: on "
        "average it is worse than the worst true value, and more so with many or small tasks."
    )
    if small := scopes.too_small_for_worst:
        shown = [f"{task} ({n})" for task, n in small.items()]
        if len(shown) > _MOST_NAMED:
            shown = [*shown[:_MOST_NAMED], f"{len(shown) - _MOST_NAMED} more"]
        note += f" Left out, with fewer than {FEWEST_ITEMS_OF_WORST} items in their smaller split: {', '.join(shown)}."
    return [note]
