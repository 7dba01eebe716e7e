"""What a worker knows of the points that are done, by itself and by others: scores, objectives, failures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from optuna.trial import TrialState

from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import ItemStore, StoredPoint
from mergekit_calib.recipe import Point, Setting, Value
from mergekit_calib.search.evaluation import Evaluation, Evaluator
from mergekit_calib.search.protocol import Outcome, Space
from mergekit_calib.search.study import Evaluated, Study
from mergekit_calib.storage.locks import Claims


class KnownOutcomes:
    """The outcomes of points, kept up to date from the item scores on disk and from the study.

    Hold the lock under which workers decide while you call any method but `news`, `read_ahead` and `evaluation`.

    Args:
        space: the points that can be searched.
        study: the proposed points.
        store: the item scores on disk.
        claims: mark the points that workers are scoring.
        evaluator: computes a point's objectives from its item scores.
        keeps_stopped: whether a point that was stopped counts as done, since the search has a race.

    Attributes:
        by_key: content key → the point's outcome.
        numbers: content key → trial number, of the point that this worker is scoring.
    """

    def __init__(
        self, space: Space, study: Study, store: ItemStore, claims: Claims, evaluator: Evaluator, keeps_stopped: bool
    ) -> None:
        self._space, self._study, self._store, self._claims = space, study, store, claims
        self._evaluator, self._keeps_stopped = evaluator, keeps_stopped
        self.by_key: dict[str, Outcome] = {}
        self.numbers: dict[str, int] = {}
        self._read: dict[str, tuple[StoredPoint, Evaluation | str]] = {}  # content key → another worker's point
        self._reported: set[str] = set()
        self._store_is_read = False

    def news(self) -> list[Outcome]:
        """Return the outcomes on all workers since the last call, in the order of the points."""
        new = {key: outcome for key, outcome in self.by_key.items() if key not in self._reported}
        self._reported |= new.keys()
        return sorted(new.values(), key=lambda outcome: outcome.order)

    def update(self) -> None:
        """Bring what this worker knows up to date: the scores on disk, and what the others have done."""
        self.update_references()
        if not self._store_is_read and not self._evaluator.missing_references:
            self._update_from_store()
            self._store_is_read = True
        self._update_from_workers()

    def read_ahead(self) -> None:
        """Read and evaluate the points that other workers finished, so that it need not be done under the lock."""
        if not self._store_is_read:
            return
        parents = set(map(self._space.key_of, self._space.parents))
        for key in (*parents, *self._study.completed):
            if key not in self.by_key and (found := self._scores_of(key, key in parents)):
                self._read[key] = found

    def note_failed_parent(self, point_id: str, reason: str) -> None:
        """Note that another worker could not score a parent; unlike those of other points, the study does not tell.

        Args:
            point_id: the id of a point; nothing happens if it is no parent's, or the parent has an outcome.
            reason: why it cannot be scored.
        """
        for parent in self._space.parents:
            if parent.id == point_id and (key := self._space.key_of(parent)) not in self.by_key:
                self.by_key[key] = Outcome(parent, self.order(parent, None), reason=reason)
                self._study.failed_parents.append(parent.axes)

    def add(
        self, key: str, point: Point, number: int | None, stored: StoredPoint, evaluation: Evaluation | str
    ) -> None:
        """Keep the outcome of a scored point, and show the point to the strategy if it is in the space."""
        order = self.order(point, number)
        if isinstance(evaluation, str):
            self.by_key[key] = Outcome(point, order, reason=evaluation, n_items=stored.n_items)
            if point.role:
                self._study.failed_parents.append(point.axes)
            return
        self.by_key[key] = Outcome(point, order, stored, n_items=stored.n_items)
        if point.role:
            self._study.parent_evaluations.append(evaluation)
        if point.axes.keys() == self._study.axes.keys():
            stopped = stored.stopped is not None
            self._study.evaluated.append(Evaluated(point.axes, evaluation, stopped, stored.tables, point.role))
            in_space = all(axis.holds(point.axes[name]) for name, axis in self._study.axes.items())
            if point.role and in_space and not self._study.has_content(key):
                self._study.add(point.axes, key, evaluation, point.role)

    def add_scored_parents(self) -> None:
        """Add the outcomes of parents whose scores are on disk, unless they wait for those of another parent."""
        if self.awaits_references():
            return
        for parent in self._space.parents:
            key = self._space.key_of(parent)
            if key not in self.by_key and (found := self._scores_of(key, is_parent=True)):
                self.add(key, parent, None, *found)

    def update_references(self) -> None:
        """Give the evaluator the scores of the parents that objectives compare with, if they are on disk."""
        for parent in self._space.parents:
            if parent.role in self._evaluator.missing_references and (
                stored := self._store.load(self._space.key_of(parent))
            ):
                self._evaluator.references[parent.role] = stored.tables

    def awaits_references(self) -> bool:
        """Return whether a parent that an objective compares with is neither scored nor failed yet."""
        missing = self._evaluator.missing_references
        return any(p.role in missing and self._space.key_of(p) not in self.by_key for p in self._space.parents)

    def evaluation(self, stored: StoredPoint) -> Evaluation | str:
        """Return a point's objectives, or the reason why they cannot be computed from its scores."""
        try:
            return self._evaluator.evaluate(stored.tables)
        except CalibError as problem:
            return str(problem)
        except Exception as problem:  # a third party's metric may raise anything
            return f"{type(problem).__name__}: {problem}"

    def order(self, point: Point, number: int | None) -> int:
        """Return the sort key of a point: the parents first, then by the number of the trial."""
        roles = [parent.role for parent in self._space.parents]
        return roles.index(point.role) - len(roles) if point.role else int(number or 0)

    def unfinished_keys(self) -> list[str]:
        """Return the content keys of points without an outcome that a worker may be scoring."""
        proposed = [t.user_attrs.get("point") for t in self._study.trials(TrialState.RUNNING)]
        parents = [self._space.key_of(parent) for parent in self._space.parents]
        return [key for key in (*parents, *proposed) if key and key not in self.by_key]

    def points_of_others(self) -> Iterator[tuple[str, Point]]:
        """Yield the content key of each point that another worker is scoring, and the point."""
        settings = {
            t.user_attrs.get("point"): self._study.setting_of(t) for t in self._study.trials(TrialState.RUNNING)
        }
        parents = {self._space.key_of(parent): parent for parent in self._space.parents}
        for key in self.unfinished_keys():
            if self._claims.is_held(key):
                yield key, parents.get(key) or self._space.point(settings[key])

    def workers_are_busy(self) -> bool:
        """Return whether a worker, this one or another, is scoring a point."""
        return any(self._claims.is_held(key) for key in self.unfinished_keys())

    def _update_from_workers(self) -> None:
        """Add the outcomes of other workers' points; release the points of dead workers."""
        self.add_scored_parents()
        if self._evaluator.missing_references:
            return
        for trial in self._study.trials(TrialState.RUNNING):
            key = trial.user_attrs.get("point", "")
            if trial.number in self.numbers.values() or (key and self._claims.is_held(key)):
                continue
            stored = self._load(key) if key else None
            evaluation = self.evaluation(stored) if stored else None
            if stored and isinstance(evaluation, Evaluation):  # the worker died after it wrote the scores
                self._study.tell(trial.number, evaluation, stored.stopped is not None)
                continue
            self._study.fail(trial.number, None)
            if stored and isinstance(evaluation, str):
                self._study.add_failure(self._study.setting_of(trial), key, evaluation, stored.n_items)
        for key, number in self._study.completed.items():
            if key not in self.by_key and (found := self._scores_of(key)):
                setting = self._study.setting_of(self._study.trials()[number])
                self.add(key, self._space.point(setting), number, *found)
        for key, failure in self._study.failures.items():
            if not self._space.is_parent(failure.setting):
                point = self._space.point(failure.setting)
                outcome = Outcome(point, failure.number, reason=failure.reason, n_items=failure.n_items)
                self.by_key.setdefault(key, outcome)

    def _update_from_store(self) -> None:
        """Add to the study the points whose item scores are on disk, the oldest first."""
        complete = {key: facts for key, facts in self._store.described() if facts.get("role") is None}
        agrees = all(key in complete and self._is_of(number, key) for key, number in self._study.completed.items())
        if not agrees and not self.workers_are_busy():
            self._study.start_over()
        for key, facts in complete.items():
            is_in_study = key in self._study.completed or key in self._study.failures
            if is_in_study or not (setting := self._setting(facts.get("axes", {}))):
                continue
            point = self._space.point(setting)
            if self._space.key_of(point) == key and (stored := self._load(key)):
                evaluation = self.evaluation(stored)
                if isinstance(evaluation, Evaluation):
                    self._study.add(setting, key, evaluation)
                else:
                    self._study.add_failure(setting, key, evaluation, stored.n_items)

    def _is_of(self, number: int, key: str) -> bool:
        """Return whether a trial's setting is that of the point with the content key, as it is unless it is damaged."""
        setting = self._study.setting_of(self._study.trials()[number])
        return bool(setting) and self._space.key_of(self._space.point(setting)) == key

    def _setting(self, axes: Mapping[str, Value]) -> Setting:
        """Return `axes` as a setting of this search; empty if it is a parent or not in the space."""
        searched = self._study.axes
        if axes.keys() != searched.keys() or not all(axis.holds(axes[name]) for name, axis in searched.items()):
            return {}
        return {} if self._space.is_parent(axes) else {name: axes[name] for name in searched}

    def _scores_of(self, key: str, is_parent: bool = False) -> tuple[StoredPoint, Evaluation | str] | None:
        """Return a finished point's scores and objectives; None if it has no scores on disk."""
        if found := self._read.pop(key, None):
            return found
        stored = self._store.load(key) if is_parent else self._load(key)
        return None if stored is None else (stored, self.evaluation(stored))

    def _load(self, key: str) -> StoredPoint | None:
        """Return a finished point's scores on disk, or those of a stopped point if this search has a race."""
        stored = self._store.load(key)
        if stored is None and self._keeps_stopped:
            part = self._store.load_part(key)
            stored = part if part and part.stopped else None
        return stored
