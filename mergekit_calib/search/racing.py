"""Racing: a point that another one dominates beyond doubt is not scored to the end.

Items come in random blocks, the same for all points: the selection split in several, then the held-out split in one.
After each block of the selection split a point is compared with every point that was scored to the end, on the items that
both have. It stops where one of those is better on *every* objective at a level that keeps the chance of any wrong
stop in the whole race below the error that was asked for.

The level: an intersection-union test (Berger 1982) over the objectives, each a one-sided z-test of the paired
difference with its bootstrap standard error, at error / (looks × rivals × i (i + 1)) for the i-th point begun. The
shares 1 / (i (i + 1)) sum to 1, so this is Bonferroni's bound over all comparisons that the race can make, however many
points follow and however often the budget is raised. The normal approximation is at its weakest with few items: there
is no verdict before 100.
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

_LEAST_ITEMS = 100

Documents = dict[str, list[int]]  # task → document numbers


@dataclass
class Race:
    """The blocks of a suite's documents, and the test that stops a point.

    Attributes:
        settings: number of blocks, and the error over the whole race.
        ruler: what measures points.
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
        """The level of one comparison of the point begun as number `order` (from 1)."""
        return self.settings.error / (order * (order + 1) * self.settings.blocks * max(n_rivals, 1))

    def run(
        self,
        score: Callable[[Documents], Tables],
        rivals: Sequence[tuple[str, Tables]],
        order: int,
        earlier: Tables | None = None,
        keep: Callable[[Tables], None] = lambda tables: None,
    ) -> tuple[Tables, str | None]:
        """Score a point block by block, until it is done or dominated.

        Args:
            score: scores the point on documents.
            rivals: the name and the tables of every point that was scored to the end.
            order: of the point among those begun, from 1.
            earlier: what was scored of it before.
            keep: told all that was scored, after each block but the last.

        Returns:
            What was scored, and why it was stopped, if it was.
        """
        tables = earlier or {}
        for look, block in enumerate(self.blocks):
            if missing := _missing(block, tables):
                tables = self._with(tables, score(missing))
                if look < len(self.blocks) - 1:
                    keep(tables)
            if look < len(self.blocks) - 1 and (reason := self.verdict(tables, look, rivals, order)):
                return tables, reason
        return tables, None

    def verdict(self, tables: Tables, look: int, rivals: Sequence[tuple[str, Tables]], order: int) -> str | None:
        """Why the point that scored `tables` is to be stopped after that block; None if it is not."""
        seen = self._seen(look)
        if sum(map(len, seen.values())) < _LEAST_ITEMS:
            return None
        mine = self._measured(_on(tables, seen))
        if mine is None:
            return None
        level = self.level(order, len(rivals))
        for name, theirs in rivals:
            if (name, look) not in self._rivals:
                measured = self._measured(_on(theirs, seen))
                if measured is None:
                    continue
                self._rivals[name, look] = measured
            rival = self._rivals[name, look]
            gains = self.evaluator.signs * (rival.values - mine.values)
            errors = np.std(rival.replicates - mine.replicates, axis=0, ddof=1)
            if not (gains > 0).all() or not (errors > 0).all():
                continue
            p = float(ndtr(-gains / errors).max())
            if p < level:
                n_seen, n_all = (sum(map(len, some.values())) for some in (seen, self._seen(len(self.blocks) - 2)))
                return f"dominated by {name} after {n_seen} of {n_all} items of the selection split (p = {p:.1g})"
        return None

    def _seen(self, look: int) -> Documents:
        """The documents of all blocks up to that one."""
        return {task: [i for block in self.blocks[: look + 1] for i in block[task]] for task in self.documents}

    def _with(self, tables: Tables, new: Tables) -> Tables:
        """Both together, in the suite's order."""
        entries = {table.task: entry for some in (tables, new) for entry, ts in some.items() for table in ts}
        together: Tables = {}
        for task in (task for task in self.documents if task in entries):
            entry = entries[task]
            parts = [t for some in (tables, new) for t in some.get(entry, []) if t.task == task]
            together.setdefault(entry, []).append(joined(parts))
        return together

    def _measured(self, tables: Tables) -> Evaluation | None:
        """None where too little was scored for one of the objectives."""
        try:
            return self.evaluator.evaluate(tables)
        except CalibError:
            return None


def rivals_among(points: Mapping[str, StoredPoint]) -> list[tuple[str, Tables]]:
    """Those that were scored to the end."""
    return [(name, stored.tables) for name, stored in points.items() if stored.stopped is None]


def _missing(block: Documents, tables: Tables) -> Documents:
    done = {table.task: set(table.doc_ids.tolist()) for some in tables.values() for table in some}
    left = {task: [i for i in numbers if i not in done.get(task, ())] for task, numbers in block.items()}
    return {task: numbers for task, numbers in left.items() if numbers}


def _on(tables: Tables, documents: Documents) -> Tables:
    """The rows of those documents."""
    kept = {
        entry: [table.take(np.isin(table.doc_ids, documents[table.task])) for table in some]
        for entry, some in tables.items()
    }
    return {entry: [table for table in some if len(table)] for entry, some in kept.items() if any(map(len, some))}
