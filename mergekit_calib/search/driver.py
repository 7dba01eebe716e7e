"""The search as the coordinator runs it: it hands out points, which workers share, and stores their scores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from mergekit_calib.items.store import ItemStore, StoredPoint, Tables
from mergekit_calib.recipe import Point, SearchSettings
from mergekit_calib.search.evaluation import Evaluation, Evaluator
from mergekit_calib.search.known_outcomes import KnownOutcomes
from mergekit_calib.search.protocol import Outcome, Space
from mergekit_calib.search.racing import Documents, Race, rivals_among
from mergekit_calib.search.shares import Share
from mergekit_calib.search.sharing import Sharing
from mergekit_calib.search.strategy import Strategy
from mergekit_calib.search.study import Study
from mergekit_calib.search.surroundings import Surroundings
from mergekit_calib.storage.locks import Claims

_POLL = 0.5  # seconds between checks of other workers' progress


class Search:
    """Hands out points to score, and stores their scores.

    If the study and the item scores on disk disagree, the item scores are taken to be true.

    Args:
        space: the points that can be searched.
        settings: the budget.
        strategy: proposes points.
        study: the proposed points.
        store: the item scores on disk.
        claims: mark the points that workers are scoring.
        evaluator: computes a point's objectives from its item scores.
        lock: a lock file; a worker holds it while it changes the study, for a moment at each point.
        n_documents: task → number of documents of a fully scored point, in the suite's order.
        divisible: the tasks whose documents several workers may score apart.
        race: stops points early; None if every point is scored fully.
        surroundings: the time and the lock; those of the machine if None.
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
        n_documents: Mapping[str, int],
        divisible: Collection[str] = (),
        race: Race | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._space, self._settings, self._strategy, self._study = space, settings, strategy, study
        self._store, self._claims, self._evaluator, self._lock = store, claims, evaluator, lock
        self._n_items, self._race = sum(n_documents.values()), race
        self._surroundings = surroundings or Surroundings()
        self.sharing = Sharing(store.folder / "shares", claims, lock, n_documents, divisible, self._surroundings)
        self._began = self._surroundings.now()
        self._known = KnownOutcomes(space, study, store, claims, evaluator, keeps_stopped=race is not None)
        self._begun: dict[str, int] = {}  # content key → number of documents that this worker scored or began to score

    def points(self) -> Iterator[Point | Share]:
        """Yield points to score, each claimed by this worker; `finish` or `fail` each before the next.

        While there is none, but others are scoring points, yield shares of those: `finish` or `give_up` each of
        `sharing`. Ends when the budget is used up or the strategy proposes no more, and no other worker is scoring.
        """
        while True:
            self._known.read_ahead()
            with self._surroundings.exclusive(self._lock):
                self._known.update()
                point = self._next()
                is_over = point is None and not self._known.workers_are_busy()
                share = None if point or is_over else self.sharing.next(self._known.points_of_others())
                self.sharing.set_idle(not (point or share or is_over))
            if work := point or share:
                yield work
            elif is_over:
                return
            else:
                self._surroundings.sleep(_POLL)

    def follow(self) -> None:
        """Learn what other workers have done since the last call, without taking a point."""
        self._known.read_ahead()
        with self._surroundings.exclusive(self._lock):
            self._known.update()

    def score(self, point: Point, digest: str, score: Callable[[Documents | None], Tables]) -> StoredPoint:
        """Score a claimed point: at once, or in blocks until a race stops it.

        A point with the same weights as an earlier one takes over its scores.

        Args:
            point: the point.
            digest: the digest of its weights.
            score: scores the point on documents; given None, on all.
        """
        same = next((o.stored for o in self._known.by_key.values() if o.stored and o.stored.digest == digest), None)
        if same is not None:
            return StoredPoint(point.id, same.tables, digest, {}, same.stopped)
        key = self._space.key_of(point)
        if self._race is None or not (point.role or self._strategy.may_race(self._study, point.axes)):
            self._begun[key] = self._n_items
            return StoredPoint(point.id, self.sharing.score(point, key, digest, score), digest, {})
        part = self._store.load_part(key)
        self._begun[key] = part.n_items if part else 0
        rivals = {o.point.id: o.stored for o in self._known.by_key.values() if o.stored}

        def score_and_count(documents: Documents) -> Tables:
            self._begun[key] += sum(map(len, documents.values()))
            return score(documents)

        tables, stopped = self._race.run(
            score_and_count,
            [] if point.role else rivals_among(rivals),
            order=self._known.numbers.get(key, 0) + 1,
            earlier=part.tables if part else None,
            keep=lambda tables: self._save(point, StoredPoint(point.id, tables, digest, {}), whole=False),
        )
        return StoredPoint(point.id, tables, digest, {}, stopped)

    def finish(self, point: Point, stored: StoredPoint) -> None:
        """Store a claimed point's scores, and release it; the point fails if an objective cannot be computed.

        Args:
            point: the point.
            stored: its item scores.
        """
        self._save(point, stored, whole=stored.stopped is None)
        key = self._space.key_of(point)
        with self._surroundings.exclusive(self._lock):  # so that nobody takes a share that was there a moment ago
            self.sharing.remove(point, key)
        self._known.update_references()
        if point.role and self._known.awaits_references():
            # Its objectives compare with a parent that is not scored yet; `_add_scored_parents` adds it then.
            with self._surroundings.exclusive(self._lock):
                self._claims.release(key)
            return
        evaluation = self._known.evaluation(stored)
        with self._surroundings.exclusive(self._lock):
            number = self._known.numbers.pop(key, None)
            if number is not None and isinstance(evaluation, Evaluation):
                self._study.tell(number, evaluation, stopped=stored.stopped is not None)
            if number is not None and isinstance(evaluation, str):
                self._study.fail(number, evaluation, stored.n_items)
            self._known.add(key, point, number, stored, evaluation)
            if point.role:
                self._known.add_scored_parents()
            self._claims.release(key)

    def fail(self, point: Point, reason: str) -> None:
        """Note that a claimed point cannot be scored, and release it.

        Args:
            point: the point.
            reason: why it cannot be scored.
        """
        key = self._space.key_of(point)
        with self._surroundings.exclusive(self._lock):
            number = self._known.numbers.pop(key, None)
            n_items = self._begun.pop(key, 0)
            if number is not None:
                self._study.fail(number, reason, n_items)
            self._known.by_key[key] = Outcome(point, self._known.order(point, number), reason=reason, n_items=n_items)
            if point.role:
                self._study.failed_parents.append(point.axes)
                self._known.add_scored_parents()
            self._claims.release(key)

    def give_back(self, point: Point) -> None:
        """Release a claimed point that this worker cannot score now; another one, or this one later, takes it up.

        Args:
            point: the point.
        """
        key = self._space.key_of(point)
        with self._surroundings.exclusive(self._lock):
            self._known.numbers.pop(key, None)  # its trial is then one of a worker that is gone
            self._begun.pop(key, None)
            self._claims.release(key)

    def news(self) -> list[Outcome]:
        """Return the outcomes on all workers since the last call, in the order of the points."""
        return self._known.news()

    def note_failed_parent(self, point_id: str, reason: str) -> None:
        """Note that another worker could not score a parent; unlike those of other points, the study does not tell.

        Args:
            point_id: the id of a point; nothing happens if it is no parent's, or the parent has an outcome.
            reason: why it cannot be scored.
        """
        self._known.note_failed_parent(point_id, reason)

    @property
    def references(self) -> Mapping[str, Tables]:
        """Role → scores, of the parents that objectives compare with; it fills as they are scored."""
        return self._evaluator.references

    @property
    def interpolation(self) -> tuple[list[str], bool, bool] | None:
        """The ids of the points that the strategy predicts others from, with `is_known` and `went_on`; else None."""
        found = self._strategy.interpolation(self._study)
        if found is None:
            return None
        ids = [
            outcome.point.id for s in found.nodes for outcome in self._known.by_key.values() if outcome.point.axes == s
        ]
        return ids, found.is_known, found.went_on

    def _next(self) -> Point | None:
        """Claim and return the next point; None if there is none now."""
        for parent in self._space.parents:
            key = self._space.key_of(parent)
            # One that is stored, but has no outcome, waits for the scores of another parent.
            if key not in self._known.by_key and self._store.load(key) is None and self._claims.take(key):
                return parent
        if self._evaluator.missing_references:
            return None  # without them no point can be evaluated; if one failed, the search is over
        while self._budget_left():
            lost = next(iter(self._study.lost), None)
            if lost is None and self._study.nothing_to_propose == self._seen_by_strategy:
                return None  # a worker that has nothing to do asks twice a second, and asking may take long
            proposal = self._study.start(lost) if lost else self._strategy.ask(self._study)
            if proposal is None:
                self._study.nothing_to_propose = self._seen_by_strategy
                return None
            point = self._space.point(proposal.setting)
            key = self._space.key_of(point)
            self._study.name_point(proposal.number, key)
            if self._space.is_parent(proposal.setting):
                self._study.fail(proposal.number, "a parent, which is scored separately")
            elif self._claims.take(key):
                self._known.numbers[key] = proposal.number
                return point
        return None

    @property
    def _seen_by_strategy(self) -> list[Any]:
        """What changes whenever the strategy could propose something else than before, as JSON has it."""
        trials, study = self._study.trials(), self._study
        n_finished = sum(trial.state.is_finished() for trial in trials)
        asked = f"{self._strategy.name}({self._strategy})"
        return [study.session, asked, len(trials), n_finished, len(study.evaluated), len(study.failed_parents)]

    def _budget_left(self) -> bool:
        settings = self._settings
        if settings.points is not None and self._n_points() >= settings.points:
            return False
        if settings.minutes is not None and self._surroundings.now() - self._began >= 60 * settings.minutes:
            return False
        if settings.item_evaluations is None:
            return True
        spent = sum(outcome.n_items for outcome in self._known.by_key.values())
        running = sum(self._claims.is_held(key) for key in self._known.unfinished_keys())
        return spent + (running + 1) * self._n_items <= settings.item_evaluations

    def _n_points(self) -> int:
        done = sum(o.point.role is None for o in self._known.by_key.values())
        return done + len(self._study.trials(TrialState.RUNNING))

    def _save(self, point: Point, stored: StoredPoint, whole: bool) -> None:
        self._store.save(self._space.key_of(point), stored, self._space.facts_of(point), whole=whole)
