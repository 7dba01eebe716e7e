"""Racing: stop scoring a point as soon as another one dominates it significantly.

Items are scored in random blocks, the same for all points: the selection split in several, then the held-out split in
one. After each block of the selection split, a point is compared with every fully scored point on the items that both
have. It is stopped if one of those is better on *every* objective, at a level that keeps the probability of any wrong
stop in the whole race below the requested error.

The level: an intersection-union test (Berger 1982) over the objectives, each a one-sided z-test of the paired
difference with its bootstrap standard error, at error / (looks × rivals × i (i + 1)) for the i-th point begun. The
shares 1 / (i (i + 1)) sum to 1, so this is Bonferroni's bound over all comparisons that the race can make, however many
points follow and however often the budget is raised. The normal approximation is poor for few items, so no point is
stopped before 100 items.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr

from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import StoredPoint, Tables
from mergekit_calib.items.table import in_selection_split, joined
from mergekit_calib.recipe import Racing
from mergekit_calib.search.evaluation import Evaluation, Evaluator

_MIN_ITEMS = 100  # of the selection split, before a point can be stopped

Documents = dict[str, list[int]]  # task → document numbers


@dataclass
class Race:
    """The blocks of a suite's documents, and the test that stops a point.

    Attributes:
        settings: the number of blocks, and the bound on the probability of any wrong stop.
        evaluator: computes a point's objectives.
        documents: task → the hashes of its documents, in order of their numbers.
    """

    settings: Racing
    evaluator: Evaluator
    documents: Mapping[str, Sequence[str]]
    _rivals: dict[tuple[str, int], Evaluation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_looks = self.settings.blocks
        self.blocks: list[Documents] = [{} for _ in range(n_looks + 1)]
        for task, hashes in self.documents.items():
            chosen = [i for i, doc in enumerate(hashes) if in_selection_split(doc)]
            chosen.sort(key=lambda i: hashlib.sha256(f"race:{hashes[i]}:{i}".encode()).digest())
            for look in range(n_looks):
                self.blocks[look][task] = sorted(chosen[look::n_looks])
            self.blocks[-1][task] = sorted(set(range(len(hashes))) - set(chosen))

    def level(self, order: int, n_rivals: int) -> float:
        """Return the significance level of one comparison.

        Args:
            order: the number of the point, from 1, in the order in which points were begun.
            n_rivals: how many points it is compared with.
        """
        return self.settings.error / (order * (order + 1) * self.settings.blocks * max(n_rivals, 1))

    def run(
        self,
        score: Callable[[Documents], Tables],
        rivals: Sequence[tuple[str, Tables]],
        order: int,
        earlier: Tables | None = None,
        keep: Callable[[Tables], None] = lambda tables: None,
    ) -> tuple[Tables, str | None]:
        """Score a point block by block, until it is complete or dominated.

        Args:
            score: scores the point on documents.
            rivals: the name and the tables of every fully scored point.
            order: the number of the point, from 1, in the order in which points were begun.
            earlier: tables of the point from an earlier run.
            keep: called with all tables so far, after each block but the last.

        Returns:
            The point's tables, and the reason why it was stopped; None if it was not.
        """
        tables = earlier or {}
        for look, block in enumerate(self.blocks):
            if missing := _missing(block, tables):
                tables = self._with(tables, score(missing))
                if look < len(self.blocks) - 1:
                    keep(tables)
            if look < len(self.blocks) - 1 and (reason := self.reason_to_stop(tables, look, rivals, order)):
                return tables, reason
        return tables, None

    def reason_to_stop(self, tables: Tables, look: int, rivals: Sequence[tuple[str, Tables]], order: int) -> str | None:
        """Return why a point should be stopped after a block; None if it should not.

        Args:
            tables: the point's tables so far.
            look: the block's index.
            rivals: as in `run`.
            order: as in `run`.
        """
        seen = self._seen(look)
        if sum(map(len, seen.values())) < _MIN_ITEMS:
            return None
        own = self._evaluation(_rows_of(tables, seen))
        if own is None:
            return None
        level = self.level(order, len(rivals))
        for name, theirs in rivals:
            if (name, look) not in self._rivals:
                evaluation = self._evaluation(_rows_of(theirs, seen))
                if evaluation is None:
                    continue
                self._rivals[name, look] = evaluation
            rival = self._rivals[name, look]
            gains = self.evaluator.signs * (rival.values - own.values)
            errors = np.std(rival.replicates - own.replicates, axis=0, ddof=1)
            if not (gains > 0).all() or not (errors > 0).all():
                continue
            p = float(ndtr(-gains / errors).max())
            if p < level:
                n_seen, n_all = (sum(map(len, docs.values())) for docs in (seen, self._seen(len(self.blocks) - 2)))
                return f"dominated by {name} after {n_seen} of {n_all} items of the selection split (p = {p:.1g})"
        return None

    def _seen(self, look: int) -> Documents:
        """Return the documents of all blocks up to and including block `look`."""
        return {task: [i for block in self.blocks[: look + 1] for i in block[task]] for task in self.documents}

    def _with(self, tables: Tables, new: Tables) -> Tables:
        """Return the rows of both, with the tasks and documents in the suite's order."""
        entries = {table.task: entry for both in (tables, new) for entry, some in both.items() for table in some}
        combined: Tables = {}
        for task in (task for task in self.documents if task in entries):
            entry = entries[task]
            parts = [t for some in (tables, new) for t in some.get(entry, []) if t.task == task]
            combined.setdefault(entry, []).append(joined(parts))
        return combined

    def _evaluation(self, tables: Tables) -> Evaluation | None:
        """Return the objectives; None if too few items were scored for one of them."""
        try:
            return self.evaluator.evaluate(tables)
        except CalibError:
            return None


def rivals_among(points: Mapping[str, StoredPoint]) -> list[tuple[str, Tables]]:
    """Return the name and the tables of the points that were not stopped.

    Args:
        points: name → point.
    """
    return [(name, stored.tables) for name, stored in points.items() if stored.stopped is None]


def _missing(block: Documents, tables: Tables) -> Documents:
    """Return the documents of a block that are not in the tables."""
    done = {table.task: set(table.doc_ids.tolist()) for some in tables.values() for table in some}
    left = {task: [i for i in numbers if i not in done.get(task, ())] for task, numbers in block.items()}
    return {task: numbers for task, numbers in left.items() if numbers}


def _rows_of(tables: Tables, documents: Documents) -> Tables:
    """Return the rows of `documents`, without tables that have none of them."""
    kept = {
        entry: [table.take(np.isin(table.doc_ids, documents[table.task])) for table in some]
        for entry, some in tables.items()
    }
    return {entry: [table for table in some if len(table)] for entry, some in kept.items() if any(map(len, some))}
