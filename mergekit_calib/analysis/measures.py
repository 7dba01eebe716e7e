"""Metrics that a user asks for by name, of a finished sweep: `ece`, `calib_mmlu/ece`, `macro/acc`, `kl_to_aligned`.

The names are those that objectives have in results: a suite entry, `/` and the metric; the metric alone for all items
pooled. A metric that compares with a parent ends with that parent's role.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from lm_eval_tasks.registered import DIVERSITY
from mergekit_calib import plugins
from mergekit_calib.analysis.stored_sweep import StoredSweep
from mergekit_calib.errors import CalibError, near_names
from mergekit_calib.items.metric_registry import Direction, Metric, with_references
from mergekit_calib.items.table import Split
from mergekit_calib.results.findings import MACRO, SUITE, Measure, Objective
from mergekit_calib.results.frontier import Frontier


def names_in(text: str, known: Iterable[str]) -> list[str]:
    """Return the names in a list that commas separate. A name may have a comma itself, as `exact_match,none`.

    Args:
        text: the list, as `acc,ece`.
        known: the names that may have commas.

    Raises:
        CalibError: the list has no name.
    """
    parts, with_commas = [part.strip() for part in text.split(",")], {name for name in known if "," in name}
    names, i = [], 0
    while i < len(parts):
        ends = (j for j in range(len(parts), i + 1, -1) if ",".join(parts[i:j]) in with_commas)
        end = next(ends, i + 1)
        names.append(",".join(parts[i:end]))
        i = end
    if not any(names):
        raise CalibError(f"{text!r} names no metric; separate names by commas, as acc,ece")
    return [name for name in dict.fromkeys(names) if name]


def with_measures(
    frontier: Frontier, folder: Path | None, names: str | Sequence[str], splits: Sequence[Split] = ("held_out",)
) -> tuple[Frontier, list[Objective]]:
    """Return a sweep's result with estimates of some metrics, and these metrics as objectives name theirs.

    What the sweep has already is not computed again; for the rest its item scores are read, and resampled as it did.

    Args:
        frontier: the sweep; it is not changed.
        folder: its output folder, with the item scores; None if it is not known.
        names: the names, in one text with commas between them or one by one.
        splits: the splits that the estimates are needed on.

    Raises:
        CalibError: there is no such metric or task, it is not defined for this sweep's items, or there are no item
            scores that it could be computed from.
    """
    every = _Known(frontier, splits)
    listed = names_in(names, every.present) if isinstance(names, str) else list(dict.fromkeys(names))
    if not listed:
        raise CalibError("no metric is named; give at least one, as acc,ece")
    measures = [every.measure(name) for name in listed]
    missing = [m for m in measures if m.name not in every.in_all]
    if missing:
        if folder is None:
            raise CalibError(
                f"{missing[0].name} is not in this frontier.json; it can be computed from the item scores in the "
                "sweep's output folder: give that folder"
            )
        scopes = {m.scope for m in missing}
        frontier = StoredSweep.load(folder).with_metrics(
            [m.key for m in missing], scopes=scopes, splits=splits, frontier=frontier
        )
    for measure in missing:
        if all(p.estimate(measure).value is None for p in frontier.complete_points):
            where = "the items" if measure.scope == SUITE else measure.scope
            raise CalibError(
                f"{measure.name} is not defined for {where} of {frontier.name}; there are {', '.join(every.listed())}"
            )
    return frontier, measures


class _Known:
    """The metrics that a sweep has, and those that can be computed for it."""

    def __init__(self, frontier: Frontier, splits: Sequence[Split]) -> None:
        self._frontier = frontier
        self._registered = plugins.metrics()
        self._scopes = [SUITE, MACRO, *(entry.name for entry in frontier.suite)]
        of_points = [
            {
                _name(scope, key)
                for scope, metrics in p.metrics.items()
                for key, of_splits in metrics.items()
                if all(split in of_splits for split in splits)
            }
            for p in frontier.complete_points
        ]
        self.present = set().union(*of_points)
        self.in_all = set.intersection(*of_points) if of_points else set()
        pairs = [(name, role) for name in self._registered for role in frontier.models]
        known = with_references(self._registered.values(), pairs)
        self._computable: dict[str, Metric] = {metric.name: metric for metric in known}

    def measure(self, name: str) -> Objective:
        """Return the metric of a name as an objective.

        Raises:
            CalibError: there is no such metric or task.
        """
        if (own := next((o for o in self._frontier.objectives if o.name == name), None)) is not None:
            return own
        scope = max((s for s in self._scopes if name.startswith(f"{s}/")), key=len, default=SUITE)
        key = name.removeprefix(f"{scope}/")
        metric = self._computable.get(key) or self._computable.get(key.partition(",")[0])
        if _name(scope, key) not in self.present and (metric is None or (metric.to is not None and key != metric.name)):
            raise CalibError(self._problem(name, scope, key))
        if metric is not None and metric.to is not None:
            bare, to = key.removesuffix(f"_to_{metric.to}"), metric.to
        else:
            bare, to = key, None
        direction: Direction | None = metric.direction if metric is not None else self._direction(key)
        return Measure(
            metric=bare,
            task=None if scope in (SUITE, MACRO) else scope,
            average="macro" if scope == MACRO else "pooled",
            to=to,
            direction=direction or "maximize",
            has_direction=direction is not None and not (metric is not None and metric.signed),
        )

    def listed(self) -> list[str]:
        """Return the names that can be asked for of all items pooled."""
        return sorted({key for key in self.present if "/" not in key} | set(self._computable))

    def _problem(self, name: str, scope: str, key: str) -> str:
        if key in self._registered and self._registered[key].needs_reference:
            either = " or ".join(f"{_name(scope, key)}_to_{role}" for role in self._frontier.models)
            return f"{key} compares with a parent: write {either}"
        entries = [entry.name for entry in self._frontier.suite]
        task, _, rest = name.rpartition("/")
        if task and task not in self._scopes:
            known = f"{near_names(task, entries)}; there are {', '.join([*entries, MACRO])}"
            return f"{name}: no task {task!r} in {self._frontier.name}{known}"
        names = self.listed()
        return (
            f"{self._frontier.name} has no metric {rest!r}{near_names(rest, names)}; there are {', '.join(names)}"
            f" (of one task: as {entries[0] if entries else MACRO}/{names[0]})"
        )

    def _direction(self, key: str) -> Direction | None:
        """Return which way a task's own metric is better, None if it is not known."""
        named = next((o.direction for o in self._frontier.objectives if o.key == key), None)
        if named is None and (better := DIVERSITY.get(key.partition(",")[0])) is not None:
            return "maximize" if better else "minimize"
        return named or ("maximize" if key.partition(",")[0] in ("acc", "acc_norm", "exact_match") else None)


def _name(scope: str, key: str) -> str:
    return key if scope == SUITE else f"{scope}/{key}"
