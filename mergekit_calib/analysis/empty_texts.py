"""Empty texts among those that were generated: their share, to be stated beside metrics of diversity."""

from __future__ import annotations

from collections.abc import Mapping

from mergekit_calib.items.store import Tables
from mergekit_calib.metrics.diversity import n_empty

_MOST_NAMED = 3


def empty_text_shares(tables: Tables) -> dict[str, float]:
    """Return task → the share of empty texts among those that it drew, for tasks that have any.

    Tasks that draw one text for a document have no diversity, and are left out.

    Args:
        tables: suite entry → the item tables of its tasks.
    """
    shares = {}
    for table in (table for some in tables.values() for table in some):
        several = [texts for texts in table.generations or [] if len(texts) > 1]
        if empty := sum(map(n_empty, several)):
            shares[table.task] = empty / sum(map(len, several))
    return shares


def notes_of_empty_texts(shares: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a sentence for each task that has empty texts; it names the models that have most of them.

    Args:
        shares: name of a model → task → share, as `empty_text_shares` returns them.
    """
    tasks = dict.fromkeys(task for of_model in shares.values() for task in of_model)
    return [_note(task, {name: of[task] for name, of in shares.items() if task in of}) for task in tasks]


def _note(task: str, shares: Mapping[str, float]) -> str:
    ranked = sorted(shares, key=lambda name: -shares[name])
    named, n_others = ranked[:_MOST_NAMED], len(ranked[_MOST_NAMED:])
    first, *more = [f"{_percent(shares[name])} of {name}'s" for name in named]
    others = [f"at most {_percent(shares[ranked[_MOST_NAMED]])} of {n_others} more"] if n_others else []
    listed = ", ".join([f"{first} texts are empty", *more, *others])
    return f"{task}: {listed}. Metrics of n-grams leave empty texts out, metrics of similarity count them as equal."


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1g} %"
