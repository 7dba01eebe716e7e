"""A simulated clock: workers run the real code one at a time, each in a thread, and wait in simulated time."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Worker:
    """One simulated worker.

    Attributes:
        number: from 0.
        at: its own time, in seconds; it is ahead of the clock by what it did since it was resumed.
        scoring: seconds in which it scored points.
        locked_out: seconds in which it waited for the lock.
        ended: when it had no more to do.
        problem: what its code raised.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.at = self.scoring = self.locked_out = self.ended = 0.0
        self.problem: BaseException | None = None
        self.turn = threading.Semaphore(0)
        self.resumed = 0.0
        self.seen = -1


class SimulatedTime:
    """The clock and the lock of all simulated workers, as `Surroundings` has them.

    What a worker computes takes the processor time that it takes here, as `stopwatch` tells it. A worker that waits
    for others looks again every `sleep` seconds. Those of its looks that come before anybody took or released a claim
    are left out, since they would find what the last one found.

    Args:
        stopwatch: returns the processor time of the calling thread, in seconds; a constant to count none of it.
    """

    def __init__(self, stopwatch: Callable[[], float] = time.thread_time) -> None:
        self._stopwatch = stopwatch
        self._agenda: list[tuple[float, int, Worker]] = []
        self._order = itertools.count()
        self._back = threading.Semaphore(0)
        self._current = Worker(-1)
        self._lock_holder: Worker | None = None
        self._lock_queue: deque[Worker] = deque()
        self._watching: list[tuple[Worker, float]] = []
        self._changes = 0
        self.lock_seconds: list[float] = []
        self.workers: list[Worker] = []

    def run(self, tasks: list[Callable[[], None]]) -> list[Worker]:
        """Run one worker for each task, all from time 0, until the last one ends.

        Args:
            tasks: the code of each worker, which may call this object's other methods.

        Raises:
            RuntimeError: workers wait for each other for ever.
        """
        self.workers = [Worker(number) for number in range(len(tasks))]
        for worker, task in zip(self.workers, tasks, strict=True):
            threading.Thread(
                target=self._run_task, args=(worker, task), name=f"simulated worker {worker.number}", daemon=True
            ).start()
            self._schedule(worker)
        while self._agenda:
            at, _, worker = heapq.heappop(self._agenda)
            worker.at = at
            self._current = worker
            worker.turn.release()
            self._back.acquire()
            if worker.problem:
                raise worker.problem
        if self._watching or self._lock_queue:
            raise RuntimeError("workers wait for each other for ever")
        return self.workers

    def now(self) -> float:
        """Return the time of the worker that calls."""
        worker = self._current
        return worker.at + self._stopwatch() - worker.resumed

    def spend(self, seconds: float) -> None:
        """Let work that is not done here take time; nobody else runs meanwhile."""
        self._current.at += seconds

    def score(self, seconds: float) -> None:
        """Let a worker score a point."""
        worker = self._catch_up()
        worker.scoring += seconds
        worker.at += seconds
        self._schedule(worker)
        self._pause(worker)

    def sleep(self, seconds: float) -> None:
        """Let a worker look again every `seconds`, until somebody has taken or released a claim."""
        worker = self._catch_up()
        worker.at += seconds
        if worker.seen == self._changes:
            self._watching.append((worker, seconds))
        else:
            self._schedule(worker)
        self._pause(worker)

    @contextmanager
    def exclusive(self, path: Path) -> Iterator[None]:
        """Hold the lock; the workers get it in the order in which they ask."""
        worker = self._catch_up()
        self._schedule(worker)  # others may ask before
        self._pause(worker)
        asked = worker.at
        if self._lock_holder is not None:
            self._lock_queue.append(worker)
            self._pause(worker)
        self._lock_holder = worker
        worker.locked_out += worker.at - asked
        began, before = worker.at, self._changes
        yield
        self._catch_up()
        worker.seen = self._changes
        self.lock_seconds.append(worker.at - began)
        self._schedule(worker)  # the lock is held until then
        self._pause(worker)
        if self._changes != before:
            self._wake_those_who_watch(worker.at)
        self._lock_holder = None
        if self._lock_queue:
            following = self._lock_queue.popleft()
            self._lock_holder = following
            following.at = max(following.at, worker.at)
            self._schedule(following)

    def changed(self) -> None:
        """Note that a worker took or released a claim."""
        self._changes += 1

    def _wake_those_who_watch(self, at: float) -> None:
        for worker, period in self._watching:
            worker.at += period * max(0, math.ceil((at - worker.at) / period - 1e-9))
            self._schedule(worker)
        self._watching.clear()

    def _run_task(self, worker: Worker, task: Callable[[], None]) -> None:
        worker.turn.acquire()
        worker.resumed = self._stopwatch()
        try:
            task()
        except BaseException as problem:
            worker.problem = problem
        self._catch_up()
        worker.ended = worker.at
        self._back.release()

    def _catch_up(self) -> Worker:
        worker, now = self._current, self._stopwatch()
        worker.at += now - worker.resumed
        worker.resumed = now
        return worker

    def _schedule(self, worker: Worker) -> None:
        heapq.heappush(self._agenda, (worker.at, next(self._order), worker))

    def _pause(self, worker: Worker) -> None:
        self._back.release()
        worker.turn.acquire()
        worker.resumed = self._stopwatch()
