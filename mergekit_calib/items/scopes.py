"""Scopes of metrics: which tasks' items are pooled, and which suite entries are averaged with which weights.

Validation asks before any model is loaded; the search and the analysis ask once items are scored. All three get their
answer here, from plain descriptions of the tasks, so that the objective that validation accepts is the one that is
optimised and reported. A scope is one of

- a suite entry, by its name: its tasks with choices are one pool, its other tasks another;
- `suite`: all tasks with choices, of whatever entry, as one pool; all tasks, if none has choices;
- `macro`: the weighted average of the entries' own values, over the entries that have a task with choices; over all
  entries, if none has;
- `worst`: the worst of the tasks' own values, over the tasks of `suite` that have `FEWEST_ITEMS_OF_WORST` documents in
  each split.

A pool yields the metrics of choices if its tasks have choices, and those of the tasks' own metrics that all its tasks
have. A metric that both pools of an entry yield is computed from the pool with choices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from mergekit_calib.items.metric_registry import Direction, Metric, metrics_of_votes, own_metric
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable, Split, in_selection_split
from mergekit_calib.results.findings import MACRO, SUITE, WORST

FEWEST_ITEMS_OF_WORST = 50
"""Documents that a task needs in each split to be one of those that the worst is taken of."""

TaskKey = tuple[str, str]  # a suite entry, and one of its tasks
Part = tuple[TaskKey, ItemTable]  # some items of a task


@dataclass(frozen=True)
class TaskDescription:
    """The properties of a task that decide which metrics it has; the same before and after it is scored.

    Attributes:
        task: lm-eval's name of the task.
        entry: the name of the suite entry that it belongs to.
        has_choices: whether a document's answer is its likeliest choice.
        own_metrics: the metrics that the task itself gives each document → which way is better.
        doc_hashes: the hashes of its documents, in order.
    """

    task: str
    entry: str
    has_choices: bool
    own_metrics: Mapping[str, Direction]
    doc_hashes: Sequence[str]

    @property
    def key(self) -> TaskKey:
        """The entry and the task: unique in a suite."""
        return self.entry, self.task


@dataclass(frozen=True)
class Pool:
    """Tasks whose items are put together, and the metrics that are computed from them.

    Attributes:
        tasks: in the suite's order.
        metrics: name → metric.
    """

    tasks: tuple[TaskDescription, ...]
    metrics: Mapping[str, Metric]

    @property
    def doc_hashes(self) -> list[str]:
        """The hashes of all documents."""
        return [doc for task in self.tasks for doc in task.doc_hashes]

    def parts(self, tables: Tables, splits: Sequence[Split] = ("all",)) -> list[Part]:
        """Return the parts of the pool's item tables in each of `splits`, task by task; without empty ones."""
        of_task = {(entry, table.task): table for entry, some in tables.items() for table in some}
        chosen = [(task.key, of_task[task.key], split) for task in self.tasks for split in splits]
        parts = [(key, table.take(table.rows(split))) for key, table, split in chosen]
        return [(key, part) for key, part in parts if len(part)]


@dataclass(frozen=True)
class Term:
    """One term of the average, or the maximum, that gives a metric of a scope; the only one of other scopes.

    Attributes:
        scope: the suite entry, or `suite`; the task's name in a maximum.
        pool: the tasks whose items the metric is computed from.
        weight: the term's share of the average; shares need not sum to 1.
    """

    scope: str
    pool: Pool
    weight: float


class Scopes:
    """The scopes of a suite, the metrics that each yields, and the items that these are computed from.

    Args:
        tasks: the suite's tasks, in order.
        of_choices: the metrics of items with choices; those that lack a reference are left out. Answers with a
            confidence have those of them that are defined for confidences.
    """

    def __init__(self, tasks: Sequence[TaskDescription], of_choices: Iterable[Metric]) -> None:
        self.tasks = tuple(tasks)
        self._of_choices = tuple(metric for metric in of_choices if not metric.lacks_reference)

    @cached_property
    def entries(self) -> list[str]:
        """The names of the suite's entries, in order."""
        return list(dict.fromkeys(task.entry for task in self.tasks))

    @cached_property
    def averaged_entries(self) -> list[str]:
        """The entries that a macro average is over: those with choices; all, if none has any."""
        return list(dict.fromkeys(task.entry for task in self._pooled_in_suite))

    @cached_property
    def tasks_of_worst(self) -> list[TaskDescription]:
        """The tasks that the worst is taken of."""
        return [task for task in self._pooled_in_suite if _smaller_split(task) >= FEWEST_ITEMS_OF_WORST]

    @cached_property
    def too_small_for_worst(self) -> dict[str, int]:
        """Each task that is left out of the worst because it is small → its documents in the smaller split."""
        kept = {task.key for task in self.tasks_of_worst}
        return {task.task: _smaller_split(task) for task in self._pooled_in_suite if task.key not in kept}

    @cached_property
    def pools(self) -> dict[str, list[Pool]]:
        """Each entry, and `suite` → its pools: the one with choices first."""
        pools = {entry: self._pools([task for task in self.tasks if task.entry == entry]) for entry in self.entries}
        return {**pools, SUITE: self._pools(self._pooled_in_suite)}

    def metrics(self, scope: str) -> dict[str, Metric]:
        """Return the metrics that a scope yields, by name; none if the suite does not have the scope."""
        if scope == MACRO:
            first, *others = [self.metrics(entry) for entry in self.averaged_entries] or [{}]
            return {name: metric for name, metric in first.items() if all(name in other for other in others)}
        if scope == WORST:
            return self._metrics_of(self.tasks_of_worst) if self.tasks_of_worst else {}
        return {name: metric for pool in self.pools.get(scope, []) for name, metric in pool.metrics.items()}

    def terms(self, scope: str, metric: str, weights: Mapping[str, float] | None = None) -> list[Term]:
        """Return the terms of the weighted average that gives a metric of a scope.

        Args:
            scope: an entry, `suite`, `macro` or `worst`.
            metric: one that the scope yields.
            weights: entry → its weight in a macro average, 0 for an entry that is not named; equal if not given.

        Raises:
            KeyError: the scope does not yield the metric.
        """
        if scope == WORST:
            if metric not in self.metrics(WORST):
                raise KeyError(metric)
            pools = [Pool((task,), self._metrics_of((task,))) for task in self.tasks_of_worst]
            return [Term(pool.tasks[0].task, pool, 1.0) for pool in pools]
        if scope == MACRO:
            shares = {entry: weights.get(entry, 0.0) if weights else 1.0 for entry in self.averaged_entries}
        else:
            shares = {scope: 1.0}
        terms = []
        for name, share in shares.items():
            pool = next((pool for pool in self.pools.get(name, []) if metric in pool.metrics), None)
            if pool is None:
                raise KeyError(metric)
            terms.append(Term(name, pool, share))
        return terms

    @cached_property
    def _pooled_in_suite(self) -> list[TaskDescription]:
        return [task for task in self.tasks if task.has_choices] or list(self.tasks)

    def _pools(self, tasks: Sequence[TaskDescription]) -> list[Pool]:
        pools: list[Pool] = []
        taken: set[str] = set()
        for has_choices in (True, False):
            pooled = tuple(task for task in tasks if task.has_choices == has_choices)
            if pooled:
                metrics = {name: m for name, m in self._metrics_of(pooled).items() if name not in taken}
                pools.append(Pool(pooled, metrics))
                taken |= metrics.keys()
        return pools

    def _metrics_of(self, pooled: Sequence[TaskDescription]) -> dict[str, Metric]:
        """Return every metric of the pooled tasks; of two with one name, the tasks' own."""
        first, *others = (task.own_metrics for task in pooled)
        own = {name: way for name, way in first.items() if all(name in other for other in others)}
        if pooled[0].has_choices:
            metrics = {metric.name: metric for metric in self._of_choices}
        else:
            metrics = metrics_of_votes(own, self._of_choices)
        return metrics | {name: own_metric(name, way == "maximize") for name, way in own.items()}


def _smaller_split(task: TaskDescription) -> int:
    """Return how many documents a task has in its smaller split."""
    n_selection = sum(map(in_selection_split, task.doc_hashes))
    return min(n_selection, len(task.doc_hashes) - n_selection)


def describe_tables(
    tables: Tables, higher_is_better: Mapping[str, Mapping[str, bool]] | None = None
) -> list[TaskDescription]:
    """Return the descriptions of tasks that were scored.

    Args:
        tables: suite entry → the item tables of its tasks.
        higher_is_better: suite entry → its tasks' own metrics → whether more is better; more is better for a metric
            that is not listed.
    """
    descriptions = []
    for entry, some in tables.items():
        stated = (higher_is_better or {}).get(entry, {})
        for table in some:
            own: dict[str, Direction] = {n: "maximize" if stated.get(n, True) else "minimize" for n in table.values}
            descriptions.append(TaskDescription(table.task, entry, table.has_choices, own, table.doc_hashes))
    return descriptions
