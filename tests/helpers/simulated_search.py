"""Searches by simulated workers: the real driver, study, strategies and claims, with item scores that are computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np

from helpers.simulated_models import ACC, ECE
from helpers.simulated_time import SimulatedTime
from mergekit_calib.analysis import SweepAnalysis
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.items.store import ItemStore, StoredPoint, Tables, content_key
from mergekit_calib.items.table import choice_table
from mergekit_calib.recipe import Point, SearchSettings, Value
from mergekit_calib.recipe.axes import read_axis
from mergekit_calib.search import STRATEGIES, Study
from mergekit_calib.search.driver import Search
from mergekit_calib.search.evaluation import Evaluation, Evaluator
from mergekit_calib.search.racing import Race
from mergekit_calib.search.surroundings import Surroundings
from mergekit_calib.storage.locks import Claims

OBJECTIVES = (ACC, ECE)


class World:
    """Points whose items change slowly along each axis from 0 to 1.5, with the parents at 0 and 1 on all axes.

    The last axis brings most of the knowledge, and the first most of the sureness, so that the frontier lies off the
    line between the parents.

    Args:
        axes: name → the axis, as a recipe has it.
        n_items: number of documents.
        seed: seed of the documents.
    """

    def __init__(self, axes: Mapping[str, Any], n_items: int, seed: int) -> None:
        self.axes = {name: read_axis(axis) for name, axis in axes.items()}
        self.n_items, self.seed = n_items, seed
        ends = (("base", 0.0), ("aligned", 1.0))
        self.parents = [Point(role, dict.fromkeys(self.axes, at), {}, role) for role, at in ends]
        self._known: dict[tuple[Value, ...], Tables] = {}

    def tables(self, setting: Mapping[str, Value]) -> Tables:
        """Return the item scores at a setting; the same object each time."""
        values = tuple(setting[name] for name in self.axes)
        if values not in self._known:
            self._known[values] = self.answers(setting)
        return self._known[values]

    def answers(self, setting: Mapping[str, Value]) -> Tables:
        """Return the item scores at a setting, computed anew."""
        values = [float(setting[name]) for name in self.axes]
        share = np.linspace(1.0, 0.0, len(values)) * 0.6 + 0.2 if len(values) > 1 else np.array([0.5])
        sure, knows = share @ values / share.sum(), (1 - share) @ values / (1 - share).sum()
        rng = np.random.default_rng(self.seed)
        logits, change = rng.normal(0, 1, (2, self.n_items, 4))
        logits[:, 0] += 1.2 + 0.75 * knows - 0.42 * knows**2
        logits += 0.7 * change * np.tanh(3.0 * (knows - rng.uniform(0, 1.5, (self.n_items, 1))))
        logits *= 1.2 + 0.9 * sure
        hashes = [f"{self.seed}-{i}" for i in range(self.n_items)]
        return {"t": [replace(choice_table(logits - 5.0, [[0]] * self.n_items), task="t", doc_hashes=hashes)]}

    # As `Space` has it:

    def point(self, setting: Mapping[str, Value]) -> Point:
        return Point(",".join(f"{name}={value}" for name, value in setting.items()), dict(setting), {})

    def is_parent(self, setting: Mapping[str, Value]) -> bool:
        return any(setting == parent.axes for parent in self.parents)

    def key_of(self, point: Point) -> str:
        return content_key(id=point.id)

    def facts_of(self, point: Point) -> dict[str, Any]:
        return {"role": point.role, "axes": point.axes}


@dataclass(frozen=True)
class Costs:
    """What is not done in a simulation, in seconds.

    Attributes:
        start: from the command to the first document, once for each worker.
        merge: to make a point's model.
        document: to score one document.
        save: to write a point's item scores.
        load: to read them, on every other worker.
        evaluate: to compute the objectives from them, on every worker.
        noise: standard deviation of the logarithm of a point's scoring time.
    """

    start: float = 0.0
    merge: float = 0.0
    document: float = 0.0
    save: float = 0.0
    load: float = 0.0
    evaluate: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True)
class Scored:
    """A point that a worker handed in: when (seconds), on which worker, and how many documents it took."""

    point: Point
    worker: int
    at: float
    n_items: int
    stopped: bool


@dataclass
class Run:
    """What the workers of one search did.

    Attributes:
        scored: the points in the order of their end.
        seconds: until the last worker ended.
        busy: seconds in which workers started, merged and scored, over all workers.
        locked_out: seconds in which workers waited for the lock, over all workers.
        lock_seconds: for how long the lock was held, each time.
        n_workers: number of workers.
    """

    n_workers: int
    scored: list[Scored] = field(default_factory=list)
    seconds: float = 0.0
    busy: float = 0.0
    locked_out: float = 0.0
    lock_seconds: list[float] = field(default_factory=list)

    @property
    def idle_share(self) -> float:
        """The share of the workers' time in which they neither started, merged nor scored."""
        return 1 - self.busy / (self.n_workers * self.seconds)


class _Store(ItemStore):
    """Item scores in memory; reading and writing them takes simulated time."""

    def __init__(self, folder: Path, time: SimulatedTime, costs: Costs) -> None:
        super().__init__(folder)
        self._time, self._costs = time, costs
        self._whole: dict[str, tuple[StoredPoint, dict[str, Any]]] = {}
        self._parts: dict[str, tuple[StoredPoint, dict[str, Any]]] = {}

    def load(self, key: str) -> StoredPoint | None:
        return self._found(self._whole, key)

    def load_part(self, key: str) -> StoredPoint | None:
        return self._found(self._parts, key)

    def described(self) -> Iterator[tuple[str, dict[str, Any]]]:
        return ((key, facts) for key, (_, facts) in self._whole.items())

    def save(self, key: str, point: StoredPoint, facts: Mapping[str, Any], whole: bool = True) -> Path:
        self._time.spend(self._costs.save)
        (self._whole if whole else self._parts)[key] = (point, dict(facts))
        return self.folder

    def _found(self, where: dict[str, tuple[StoredPoint, dict[str, Any]]], key: str) -> StoredPoint | None:
        if key not in where:
            return None
        self._time.spend(self._costs.load)
        return where[key][0]


class _NotedClaims(Claims):
    """The real claims, which tell the clock when one is taken or released."""

    time: SimulatedTime

    def take(self, key: str) -> bool:
        taken = super().take(key)
        if taken and not key.startswith("idle-"):  # claims that say no more than that a worker waits
            self.time.changed()
        return taken

    def release(self, key: str) -> None:
        super().release(key)
        if not key.startswith("idle-"):
            self.time.changed()


@dataclass(frozen=True)
class _Evaluator(Evaluator):
    """Evaluates the scored points once for all workers; each of them takes simulated time for it."""

    time: SimulatedTime | None = None
    costs: Costs = Costs()
    known: dict[int, tuple[Tables, Evaluation]] = field(default_factory=dict)

    def evaluate(self, tables: Tables) -> Evaluation:
        if (found := self.known.get(id(tables))) and self.time:
            self.time.spend(self.costs.evaluate)
            return found[1]
        return super().evaluate(tables)

    def keep(self, tables: Tables) -> Evaluation:
        """Return the evaluation, and remember it for the workers."""
        if id(tables) not in self.known:
            self.known[id(tables)] = (tables, super().evaluate(tables))
        return self.known[id(tables)][1]


def simulate(
    world: World,
    search: Mapping[str, Any],
    n_workers: int,
    folder: Path,
    costs: Costs = Costs(),
    time: SimulatedTime | None = None,
) -> Run:
    """Run one search by several simulated workers.

    Args:
        world: the points.
        search: as a recipe's `search:`, with the strategy's options.
        n_workers: number of workers.
        folder: an empty folder for the study, its lock and the claims.
        costs: of what is not done here.
        time: the clock; a new one if None.
    """
    time = time or SimulatedTime()
    settings, run = SearchSettings(**search), Run(n_workers)
    evaluator = _Evaluator(OBJECTIVES, BUILT_IN, 15, 0, time=time, costs=costs)
    store = _Store(folder / "items", time, costs)
    analysis = SweepAnalysis(OBJECTIVES, BUILT_IN, level=0.95, n_resamples=100, n_bins=15, seed=0)
    documents = {"t": world.tables(world.parents[0].axes)["t"][0].doc_hashes}
    surroundings = Surroundings(time.now, time.sleep, time.exclusive)

    def work(number: int, claims: Claims) -> None:
        strategy = STRATEGIES[str(settings.strategy)](**settings.options)
        study = Study(
            folder / "study.log",
            "s",
            world.axes,
            [objective.direction for objective in OBJECTIVES],
            seed=settings.seed,
            session="now",
            evaluator=evaluator,
            choose=analysis.item_score_chooser("one_se", {}).choose,
            parents=[parent.axes for parent in world.parents],
        )
        race = Race(settings.racing, evaluator, documents) if settings.racing else None
        driver = Search(
            world,
            settings,
            strategy,
            study,
            store,
            claims,
            evaluator,
            folder / "lock",
            {task: len(hashes) for task, hashes in documents.items()},
            (),  # no task is divided: what sharing would give is worked out on paper
            race,
            surroundings,
        )
        time.score(costs.start)
        for point in driver.points():
            time.score(costs.merge)
            stored = driver.score(point, point.id, lambda documents, point=point: answers(point, documents))
            driver.finish(point, stored)
            scored = Scored(point, number, time.now(), stored.n_items, stored.stopped is not None)
            run.scored.append(scored)

    def answers(point: Point, documents: Mapping[str, list[int]] | None) -> Tables:
        whole = world.tables(point.axes)
        evaluator.keep(whole)
        luck = np.random.default_rng([world.seed, int(world.key_of(point), 16)])
        factor = float(np.exp(luck.normal(0, costs.noise)))
        n_items = world.n_items if documents is None else sum(map(len, documents.values()))
        time.score(n_items * costs.document * factor)
        return whole if documents is None else {"t": [whole["t"][0].take(np.array(documents["t"]))]}

    with ExitStack() as stack:
        tasks = []
        for number in range(n_workers):
            claims = stack.enter_context(_NotedClaims(folder / "claims"))
            claims.time = time
            tasks.append(lambda number=number, claims=claims: work(number, claims))
        workers = time.run(tasks)
    run.scored.sort(key=lambda scored: scored.at)
    run.seconds = max(worker.ended for worker in workers)
    run.busy, run.locked_out = sum(w.scoring for w in workers), sum(w.locked_out for w in workers)
    run.lock_seconds = time.lock_seconds
    return run


def measured(world: World, costs: Costs, folder: Path) -> Costs:
    """Return `costs` with those of item files and of an evaluation as they are on this machine, the least of five."""
    tables = world.tables(world.parents[0].axes)
    store, evaluator = ItemStore(folder), Evaluator(OBJECTIVES, BUILT_IN, 15, 0)
    key = content_key(world=world.seed)
    point = StoredPoint("point", tables, "digest", {})
    save = _least(lambda: store.save(key, point, {}))
    load = _least(lambda: store.load(key))
    return replace(costs, save=save, load=load, evaluate=_least(lambda: evaluator.evaluate(tables)))


def _least(action: Callable[[], object], times: int = 5) -> float:
    taken = []
    for _ in range(times):
        began = thread_time()
        action()
        taken.append(thread_time() - began)
    return min(taken)
