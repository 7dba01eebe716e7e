"""The choices of sweeps compared with each other, on the items that both were scored on."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from mergekit_calib.analysis.between_sweeps import LEAST_COMMON, PairedComparison, ScoredPoint, compared_points
from mergekit_calib.analysis.stored_sweep import StoredSweep
from mergekit_calib.errors import CalibError
from mergekit_calib.report.tables.comparison import Compared
from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.outcomes import signed_difference
from mergekit_calib.results.findings import Objective

_MOST_PAIRS = 45  # of ten sweeps


@dataclass(frozen=True)
class Pair:
    """Two sweeps whose choices are compared.

    Attributes:
        first, second: the sweeps.
        found: the first one's choice minus the second one's.
    """

    first: Compared
    second: Compared
    found: PairedComparison


def pairs(sweeps: Sequence[Compared]) -> list[Pair]:
    """Compare the choices of each two sweeps in the metrics that both have, paired; of the first ten sweeps."""
    stored: list[StoredSweep | str] = []
    for sweep in sweeps:
        try:
            stored.append(StoredSweep.load(sweep.folder))
        except CalibError as problem:
            stored.append(str(problem))
    found = []
    for i, k in itertools.islice(itertools.combinations(range(len(sweeps)), 2), _MOST_PAIRS):
        mine, theirs = stored[i], stored[k]
        if isinstance(mine, str) or isinstance(theirs, str):
            unread = next(each for each in (mine, theirs) if isinstance(each, str))
            found.append(Pair(sweeps[i], sweeps[k], PairedComparison(reason=unread)))
            continue
        points = ScoredPoint(mine, sweeps[i].chosen.id), ScoredPoint(theirs, sweeps[k].chosen.id)
        found.append(Pair(sweeps[i], sweeps[k], compared_points(*points, _shared(sweeps[i], sweeps[k]))))
    return found


def pairs_table(found: Sequence[Pair]) -> tuple[list[str], list[list[str]]]:
    """Return the titles and the rows of the table that people read; a pair that is not compared says why."""
    measures = _measures(found)
    titles = ["choices", "items in common", *(f"{m.name} {formatting.arrow(m)}".rstrip() for m in measures)]
    rows = []
    for pair in found:
        names = f"{_named(pair.first)} minus {_named(pair.second)}"
        if pair.found.reason:
            rows.append([names, pair.found.reason])
            continue
        differences = [pair.found.differences.get(m.name) for m in measures]
        cells = [formatting.UNDEFINED if d is None else signed_difference(d) for d in differences]
        rows.append([names, f"{pair.found.n:,}", *cells])
    return titles, rows


def pairs_frame(found: Sequence[Pair]) -> pd.DataFrame:
    """Return one row for each pair: sweeps, points, numbers of items, and `<metric>.minus.value`, `.low`, `.high`."""
    rows = []
    for pair in found:
        row: dict[str, object] = {
            "first": pair.first.label,
            "second": pair.second.label,
            "first.chosen": pair.first.chosen.id,
            "second.chosen": pair.second.chosen.id,
            "n": pair.found.n,
            "first.n": pair.found.n_of[0],
            "second.n": pair.found.n_of[1],
            "tasks": " ".join(pair.found.tasks),
            "reason": pair.found.reason or None,
            "level": pair.first.frontier.level,
        }
        for measure in _measures(found):
            difference = pair.found.differences.get(measure.name)
            for part in ("value", "low", "high"):
                row[f"{measure.name}.minus.{part}"] = getattr(difference, part, None)
        rows.append(row)
    frame: pd.DataFrame = pd.DataFrame(rows)
    return frame


def pairs_caption(found: Sequence[Pair]) -> str:
    """Return how to read the table."""
    levels = sorted({formatting.percent(pair.first.frontier.level) for pair in found})
    text = (
        "The first sweep's choice minus the second one's, on the held-out items that both were scored on (at least "
        f"{LEAST_COMMON}), with paired {' or '.join(levels)} intervals. Items are matched by task and document. "
    )
    n = sum(len(pair.found.differences) for pair in found)
    if n > 1:
        text += f"Each of the {n} intervals holds by itself: of many, some miss. "
    if any(formatting.chosen_split(s.frontier) == "all" for pair in found for s in (pair.first, pair.second)):
        text += "A point that was chosen on all items was chosen on these too, which favours it a little. "
    return text.rstrip()


def item_notes(found: Sequence[Pair]) -> list[str]:
    """Return sentences on sweeps that were scored on other items, or in another way."""
    notes = []
    for pair in found:
        either = f"{pair.first.label} and {pair.second.label}"
        n, n_of = pair.found.n, pair.found.n_of
        if sum(n_of) and not pair.found.same_items:
            compared = "their choices are not compared" if pair.found.reason else "they are compared on these alone"
            notes.append(
                f"{either} were scored on other items: {n_of[0]:,} and {n_of[1]:,} held-out items, {n:,} of them in "
                f"common; {compared}. Values and gains of each sweep are of its own items."
            )
        notes += [f"{either} were prompted differently: {what}." for what in pair.found.unshared]
    return notes


def _shared(first: Compared, second: Compared) -> list[Objective]:
    names = {m.name for m in second.measures}
    return [m for m in first.measures if m.name in names]


def _measures(found: Sequence[Pair]) -> list[Objective]:
    by_name = {m.name: m for pair in found for m in _shared(pair.first, pair.second) if m.to is None}
    return list(by_name.values())


def _named(sweep: Compared) -> str:
    return f"{sweep.label} ({formatting.name_with_role(sweep.chosen)})"
