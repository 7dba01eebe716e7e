"""Empty and cut-off texts among those that were generated: their shares, to be stated beside other metrics."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

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


def cut_off_shares(tables: Tables) -> dict[str, float]:
    """Return task → the share of its answers that the limit of tokens cut off, for tasks that have any.

    Args:
        tables: suite entry → the item tables of its tasks.
    """
    with_values = [table for some in tables.values() for table in some if "cut_off" in table.values and len(table)]
    shares = {table.task: float(np.nanmean(table.values["cut_off"])) for table in with_values}
    return {task: share for task, share in shares.items() if share > 0}


def notes_of_empty_texts(shares: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a sentence for each task that has empty texts; it names the models that have most of them.

    Args:
        shares: name of a model → task → share, as `empty_text_shares` returns them.
    """
    ending = "Metrics of n-grams leave empty texts out, metrics of similarity count them as equal."
    return _notes(shares, "texts are empty", ending)


def notes_of_cut_off_answers(shares: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a sentence for each task that has answers without an end; it names the models that have most of them.

    Args:
        shares: name of a model → task → share, as `cut_off_shares` returns them.
    """
    ending = "`tokens` counts them up to that limit (`max_gen_toks`)."
    return _notes(shares, "answers are cut off by the limit of tokens", ending)


def _notes(shares: Mapping[str, Mapping[str, float]], what: str, ending: str) -> list[str]:
    tasks = dict.fromkeys(task for of_model in shares.values() for task in of_model)
    return [_note(task, {n: of[task] for n, of in shares.items() if task in of}, what, ending) for task in tasks]


def _note(task: str, shares: Mapping[str, float], what: str, ending: str) -> str:
    ranked = sorted(shares, key=lambda name: -shares[name])
    named, n_others = ranked[:_MOST_NAMED], len(ranked[_MOST_NAMED:])
    first, *more = [f"{_percent(shares[name])} of {name}'s" for name in named]
    others = [f"at most {_percent(shares[ranked[_MOST_NAMED]])} of {n_others} more"] if n_others else []
    listed = ", ".join([f"{first} {what}", *more, *others])
    return f"{task}: {listed}. {ending}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1g} %"
