"""Paired comparisons of points of different sweeps, on the held-out items that both were scored on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mergekit_calib import plugins
from mergekit_calib.analysis import paired
from mergekit_calib.analysis.estimation import Estimator
from mergekit_calib.analysis.stored_sweep import StoredSweep
from mergekit_calib.analysis.sweep_analysis import SEED_OF_RESAMPLES
from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable, plain_hash
from mergekit_calib.results.findings import Difference, Objective

LEAST_COMMON = 100
"""The least number of common items on which sweeps are compared: on fewer, hardly any difference would show."""


@dataclass(frozen=True)
class ScoredPoint:
    """A point with its item scores.

    Attributes:
        sweep: its sweep.
        point: its id.
    """

    sweep: StoredSweep
    point: str

    @property
    def tables(self) -> Tables:
        """The item scores. Raises CalibError if they cannot be read."""
        return self.sweep.tables(self.point)


@dataclass(frozen=True)
class PairedComparison:
    """The difference of two points on the held-out items that both were scored on.

    Attributes:
        n: how many these items are.
        n_of: how many held-out items each of the two was scored on.
        tasks: the lm-eval tasks that the items are from.
        differences: metric → the first point minus the second, paired, without p-values; empty if not compared.
        unshared: what the sweeps' settings differ in on common tasks, as `calib_demo: 0 and 5 examples in the prompt`.
        reason: why they are not compared; empty if they are.
    """

    n: int = 0
    n_of: tuple[int, int] = (0, 0)
    tasks: tuple[str, ...] = ()
    differences: dict[str, Difference] = field(default_factory=dict)
    unshared: tuple[str, ...] = ()
    reason: str = ""

    @property
    def same_items(self) -> bool:
        """Whether both were scored on exactly the same held-out items."""
        return self.n_of == (self.n, self.n)


def compared_points(first: ScoredPoint, second: ScoredPoint, measures: Sequence[Objective]) -> PairedComparison:
    """Compare two points on the held-out items in common, by the task's name and the document's hash.

    Args:
        first: a point.
        second: a point of another sweep, or of the same.
        measures: the metrics; one that compares with a parent is left out, as each sweep has parents of its own.

    Returns:
        The comparison; with a reason and without differences if item scores cannot be read, or if fewer than
        `LEAST_COMMON` items are in common.
    """
    try:
        mine, theirs = _held_out(first.tables), _held_out(second.tables)
    except CalibError as problem:
        return PairedComparison(reason=str(problem))
    n_of = (sum(map(len, mine.values())), sum(map(len, theirs.values())))
    common = {key: _common(mine[key], theirs[key]) for key in mine if key in theirs}
    common = {key: pair for key, pair in common.items() if len(pair[0])}
    n = sum(len(pair[0]) for pair in common.values())
    tasks, unshared = tuple(common), _unshared(first.sweep, second.sweep, common)
    if n < LEAST_COMMON:
        found = f"{n:,} held-out items are in common" if n else "no held-out item is in common"
        reason = f"{found}; at least {LEAST_COMMON} are needed"
        return PairedComparison(n, n_of, tasks, unshared=unshared, reason=reason)
    of_models = [_in_entries(first.sweep, {task: pair[i] for task, pair in common.items()}) for i in (0, 1)]
    estimator = Estimator(
        of_choices=list(plugins.metrics().values()),
        macro_weights={} if any(m.average == "macro" for m in measures) else None,
        level=first.sweep.frontier.level,
        n_resamples=first.sweep.frontier.n_resamples,
        n_bins=first.sweep.frontier.n_bins,
        seed=SEED_OF_RESAMPLES,
    )
    names = {m.key for m in measures if m.to is None}
    results = [estimator.bootstrap(each, ["all"], lambda table, metric: metric.name in names) for each in of_models]
    of_measures = [paired.of_objectives(each, measures, "all") for each in results]
    estimates = estimator.estimates(results[0], of_models[0])
    counts = {m.name: estimates[m.scope][m.key]["all"].n for m in measures if m.name in of_measures[0]}
    mine_of, theirs_of = of_measures
    differences = paired.differences(mine_of, theirs_of, measures, estimator.level, counts)
    without_p = {name: each.model_copy(update={"p": None}) for name, each in differences.items()}
    return PairedComparison(n, n_of, tasks, without_p, unshared)


def _held_out(tables: Tables) -> dict[str, ItemTable]:
    """Return task → its held-out items; of a task in several entries, those of the first."""
    of_task: dict[str, ItemTable] = {}
    for table in (table for some in tables.values() for table in some):
        of_task.setdefault(table.task, table.take(table.rows("held_out")))
    return of_task


def _common(mine: ItemTable, theirs: ItemTable) -> tuple[ItemTable, ItemTable]:
    """Return the rows of both tables that are of the same documents, in the first one's order.

    A task may have a document twice: its first occurrence matches the first one, and so on.
    """
    if mine.has_choices != theirs.has_choices:
        none = np.array([], dtype=np.intp)
        return mine.take(none), theirs.take(none)
    keys, of_theirs = _document_keys(mine), {key: row for row, key in enumerate(_document_keys(theirs))}
    rows = [(i, of_theirs[key]) for i, key in enumerate(keys) if key in of_theirs]
    same = [(i, k) for i, k in rows if _same_labels(mine, i, theirs, k)]
    left, right = (np.array([pair[side] for pair in same], dtype=np.intp) for side in (0, 1))
    hashes = [keys[i][0] for i in left]
    return replace(mine.take(left), doc_hashes=hashes), replace(theirs.take(right), doc_hashes=hashes)


def _document_keys(table: ItemTable) -> list[tuple[str, int]]:
    """Return each document's hash, without its split, with the number of its occurrence."""
    seen: Counter[str] = Counter()
    keys = []
    for doc in map(plain_hash, table.doc_hashes):
        keys.append((doc, seen[doc]))
        seen[doc] += 1
    return keys


def _same_labels(mine: ItemTable, i: int, theirs: ItemTable, k: int) -> bool:
    """Return whether the same choices are correct; a task may have changed, or may shuffle its choices."""
    return np.array_equal(np.flatnonzero(mine.labels[i]), np.flatnonzero(theirs.labels[k]))


def _in_entries(sweep: StoredSweep, of_task: dict[str, ItemTable]) -> Tables:
    """Return the tables by the suite entries of a sweep, so that metrics of one entry have their names."""
    entry_of = {task: entry.name for entry in sweep.frontier.suite for task in entry.tasks}
    tables: dict[str, list[ItemTable]] = {}
    for task, table in of_task.items():
        tables.setdefault(entry_of.get(task, task), []).append(table)
    return tables


def _unshared(
    first: StoredSweep, second: StoredSweep, tasks: dict[str, tuple[ItemTable, ItemTable]]
) -> tuple[str, ...]:
    examples = [
        {task: entry.num_fewshot for entry in sweep.frontier.suite for task in entry.tasks} for sweep in (first, second)
    ]
    return tuple(
        f"{task}: {examples[0].get(task) or 0} and {examples[1].get(task) or 0} examples in the prompt"
        for task in tasks
        if (examples[0].get(task) or 0) != (examples[1].get(task) or 0)
    )
