"""The search as its coordinator sees it: points to score, one after another, shared with whoever else works on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from optuna.trial import TrialState

from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import ItemStore, StoredPoint, Tables
from mergekit_calib.recipe import Point, SearchSettings, Setting, Value
from mergekit_calib.search.evaluation import Evaluation, Evaluator
from mergekit_calib.search.protocol import Outcome, Space
from mergekit_calib.search.racing import Documents, Race, rivals_among
from mergekit_calib.search.strategy import Strategy
from mergekit_calib.search.study import Evaluated, Study
from mergekit_calib.storage.locks import Claims, exclusive

_POLL = 0.5  # seconds between looks at what other workers have done


class Search:
    """Hands out points, and keeps what comes of them. Item scores on disk are the truth; the study follows them.

    Args:
        space: what can be searched.
        settings: the budget; the strategy and its options were taken from them.
        strategy, study, store, claims, ruler: what the search is made of.
        lock: a file that workers wait for each other on while they decide, a moment a point.
        race: how points are stopped early, if they are.
        n_items: documents of a point that is scored to the end.
    """

    def __init__(
        self,
        space: Space,
        settings: SearchSettings,
        strategy: Strategy,
        study: Study,
        store: ItemStore,
        claims: Claims,
        evaluator: Evaluator,
        lock: Path,
        n_items: int,
        race: Race | None = None,
    ) -> None:
        self._space, self._settings, self._strategy, self._study = space, settings, strategy, study
        self._store, self._claims, self._ruler, self._lock = store, claims, evaluator, lock
        self._n_items, self._race = n_items, race
        self._began = time.monotonic()
        self._outcomes: dict[str, Outcome] = {}  # by content key
        self._reported: set[str] = set()
        self._numbers: dict[str, int] = {}  # content key → number of the trial that this worker is on
        self._begun: dict[str, int] = {}  # content key → documents that this worker scored or began to

    def points(self) -> Iterator[Point]:
        """Points to score, each claimed by this worker; `finish` or `fail` each before the next.

        Ends when the budget is used up or the strategy is done, and no other worker is on a point.
        """
        with exclusive(self._lock):
            self._take_in_stored()
        while True:
            with exclusive(self._lock):
                self._take_in_others()
                point = self._next()
                idle = point is None and not self._others_at_work()
            if point is not None:
                yield point
            elif idle:
                return
            else:
                time.sleep(_POLL)

    def score(self, point: Point, digest: str, score: Callable[[Documents | None], Tables]) -> StoredPoint:
        """Score a claimed point: at once, or in blocks until a race stops it. Equal weights have equal scores.

        Args:
            digest: of the point's weights.
            score: scores the point on documents, or (None) on all.
        """
        twin = next((o.stored for o in self._outcomes.values() if o.stored and o.stored.digest == digest), None)
        if twin is not None:
            return StoredPoint(point.id, twin.tables, digest, {}, twin.stopped)
        key = self._space.key_of(point)
        if self._race is None:
            self._begun[key] = self._n_items
            return StoredPoint(point.id, score(None), digest, {})
        part = self._store.load_part(key)
        self._begun[key] = part.n_items if part else 0
        rivals = {o.point.id: o.stored for o in self._outcomes.values() if o.stored}

        def counted(documents: Documents) -> Tables:
            self._begun[key] += sum(map(len, documents.values()))
            return score(documents)

        tables, stopped = self._race.run(
            counted,
            [] if point.role else rivals_among(rivals),
            order=self._numbers.get(key, 0) + 1,
            earlier=part.tables if part else None,
            keep=lambda some: self._save(point, StoredPoint(point.id, some, digest, {}), whole=False),
        )
        return StoredPoint(point.id, tables, digest, {}, stopped)

    def finish(self, point: Point, stored: StoredPoint) -> None:
        """Keep a claimed point's scores, and let go of it. It fails where an objective cannot be computed from them."""
        self._save(point, stored, whole=stored.stopped is None)
        measured = self._measured(stored)
        key = self._space.key_of(point)
        with exclusive(self._lock):
            number = self._numbers.pop(key, None)
            if number is not None and isinstance(measured, Evaluation):
                self._study.tell(number, measured, stopped=stored.stopped is not None)
            if number is not None and isinstance(measured, str):
                self._study.fail(number, measured, stored.n_items)
            self._settle(key, point, number, stored, measured)
            self._claims.release(key)

    def fail(self, point: Point, reason: str) -> None:
        """Note that a claimed point cannot be scored, and let go of it."""
        key = self._space.key_of(point)
        with exclusive(self._lock):
            number = self._numbers.pop(key, None)
            n_items = self._begun.pop(key, 0)
            if number is not None:
                self._study.fail(number, reason, n_items)
            self._outcomes[key] = Outcome(point, self._order(point, number), reason=reason, n_items=n_items)
            self._claims.release(key)

    def news(self) -> list[Outcome]:
        """What came of points, here and elsewhere, since this was last asked; in the order of the points."""
        fresh = {key: outcome for key, outcome in self._outcomes.items() if key not in self._reported}
        self._reported |= fresh.keys()
        return sorted(fresh.values(), key=lambda outcome: outcome.order)

    def _next(self) -> Point | None:
        for parent in self._space.parents:
            key = self._space.key_of(parent)
            if key not in self._outcomes and self._claims.take(key):
                return parent
        while self._budget_left():
            lost = next(iter(self._study.lost), None)
            proposal = self._study.start(lost) if lost else self._strategy.ask(self._study)
            if proposal is None:
                return None
            point = self._space.point(proposal.setting)
            key = self._space.key_of(point)
            self._study.name_point(proposal.number, key)
            if self._space.is_parent(proposal.setting):
                self._study.fail(proposal.number, "a parent, which is scored as such")
            elif self._claims.take(key):
                self._numbers[key] = proposal.number
                return point
        return None

    def _budget_left(self) -> bool:
        settings = self._settings
        if settings.points is not None and self._n_points() >= settings.points:
            return False
        if settings.minutes is not None and time.monotonic() - self._began >= 60 * settings.minutes:
            return False
        if settings.item_evaluations is None:
            return True
        spent = sum(outcome.n_items for outcome in self._outcomes.values())
        running = sum(self._claims.is_held(key) for key in self._keys_at_work())
        return spent + (running + 1) * self._n_items <= settings.item_evaluations

    def _n_points(self) -> int:
        done = sum(o.point.role is None for o in self._outcomes.values())
        return done + len(self._study.trials(TrialState.RUNNING))

    def _keys_at_work(self) -> list[str]:
        """Of the points that no outcome is known of, but that someone may be on."""
        proposed = [t.user_attrs.get("point") for t in self._study.trials(TrialState.RUNNING)]
        parents = [self._space.key_of(parent) for parent in self._space.parents]
        return [key for key in (*parents, *proposed) if key and key not in self._outcomes]

    def _others_at_work(self) -> bool:
        return any(self._claims.is_held(key) for key in self._keys_at_work())

    def _take_in_others(self) -> None:
        """Learn what became of the points of others; give those of dead workers free."""
        for parent in self._space.parents:
            key = self._space.key_of(parent)
            if key not in self._outcomes and (stored := self._store.load(key)):
                self._settle(key, parent, None, stored, self._measured(stored))
        for trial in self._study.trials(TrialState.RUNNING):
            key = trial.user_attrs.get("point", "")
            if trial.number in self._numbers.values() or (key and self._claims.is_held(key)):
                continue
            stored = self._load(key) if key else None
            measured = self._measured(stored) if stored else None
            if stored and isinstance(measured, Evaluation):  # it died between writing the scores and saying so
                self._study.tell(trial.number, measured, stored.stopped is not None)
                continue
            self._study.fail(trial.number, None)
            if stored and isinstance(measured, str):
                self._study.add_failure(self._study.setting_of(trial), key, measured, stored.n_items)
        for key, number in self._study.told.items():
            if key not in self._outcomes and (stored := self._load(key)):
                setting = self._study.setting_of(self._study.trials()[number])
                self._settle(key, self._space.point(setting), number, stored, self._measured(stored))
        for key, failure in self._study.failures.items():
            if not self._space.is_parent(failure.setting):
                point = self._space.point(failure.setting)
                outcome = Outcome(point, failure.number, reason=failure.reason, n_items=failure.n_items)
                self._outcomes.setdefault(key, outcome)

    def _take_in_stored(self) -> None:
        """Bring the study in line with the item scores on disk, the oldest first."""
        whole = {key: facts for key, facts in self._store.described() if facts.get("role") is None}
        if any(key not in whole for key in self._study.told) and not self._others_at_work():
            self._study.start_over()
        for key, facts in whole.items():
            taken_in = key in self._study.told or key in self._study.failures
            if taken_in or not (setting := self._setting(facts.get("axes", {}))):
                continue
            point = self._space.point(setting)
            if self._space.key_of(point) == key and (stored := self._load(key)):
                measured = self._measured(stored)
                if isinstance(measured, Evaluation):
                    self._study.add(setting, key, measured)
                else:
                    self._study.add_failure(setting, key, measured, stored.n_items)

    def _setting(self, axes: Mapping[str, Value]) -> Setting:
        """`axes` as a setting of this search; empty where it does not stand in its space."""
        mine = self._study.axes
        if axes.keys() != mine.keys() or not all(axis.holds(axes[name]) for name, axis in mine.items()):
            return {}
        return {} if self._space.is_parent(axes) else {name: axes[name] for name in mine}

    def _load(self, key: str) -> StoredPoint | None:
        """What is on disk of a point that is done: whole, or stopped in a race while there is one."""
        stored = self._store.load(key)
        if stored is None and self._race is not None:
            part = self._store.load_part(key)
            stored = part if part and part.stopped else None
        return stored

    def _measured(self, stored: StoredPoint) -> Evaluation | str:
        """A point's objectives, or the reason why its scores do not give them."""
        try:
            return self._ruler.evaluate(stored.tables)
        except CalibError as problem:
            return str(problem)
        except Exception as problem:  # a third party's metric may raise anything
            return f"{type(problem).__name__}: {problem}"

    def _settle(
        self, key: str, point: Point, number: int | None, stored: StoredPoint, measured: Evaluation | str
    ) -> None:
        order = self._order(point, number)
        if isinstance(measured, str):
            self._outcomes[key] = Outcome(point, order, reason=measured, n_items=stored.n_items)
            return
        self._outcomes[key] = Outcome(point, order, stored, n_items=stored.n_items)
        if point.axes.keys() == self._study.axes.keys():
            self._study.known.append(Evaluated(point.axes, measured, stored.stopped is not None))
            on_axes = all(axis.holds(point.axes[name]) for name, axis in self._study.axes.items())
            if point.role and on_axes and not self._study.has_content(key):
                self._study.add(point.axes, key, measured, point.role)

    def _order(self, point: Point, number: int | None) -> int:
        return {"base": -2, "aligned": -1}[point.role] if point.role else int(number or 0)

    def _save(self, point: Point, stored: StoredPoint, whole: bool) -> None:
        self._store.save(self._space.key_of(point), stored, self._space.facts_of(point), whole=whole)
