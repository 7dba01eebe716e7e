"""The supervisor of a sweep's workers: it starts them as processes, passes on their events, and starts dead ones again.

Workers share points through the output folder, as processes that a user starts do. `worker_process` describes what
goes through the pipes.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from mergekit_calib.errors import CalibError
from mergekit_calib.integrations.worker_process import WorkerJob
from mergekit_calib.results.events import Progress
from mergekit_calib.sweep.crew import Ended

_RESTARTS = 2  # of each worker
_POLL = 1.0  # seconds without an event after which the supervisor looks into the folder
_PATIENCE = 10.0  # seconds that workers have to clean up when they are stopped
_LOG = logging.getLogger(__name__)

_Event = dict[str, Any]
_Inbox = queue.SimpleQueue[tuple[int, _Event]]


class WorkerCrew:
    """Workers in processes of their own on this machine.

    Args:
        text: the recipe.
        source: the file that it came from, for messages.
        out_path: the sweep's output folder.
        options: mergekit's options, as JSON can hold them.
        environments: the environment variables of each worker.
        tell: is called with lines that the user must read.
        share: the fields of the `ClusterShare` of each worker; None if they score on this machine.

    Attributes:
        size: the number of workers.
        scores_here: whether they score on this machine.
    """

    def __init__(
        self,
        text: str,
        source: str | None,
        out_path: str,
        options: Mapping[str, Any],
        environments: Sequence[Mapping[str, str]],
        tell: Callable[[str], None],
        share: Mapping[str, Any] | None = None,
    ) -> None:
        self._job = text, source, str(out_path), dict(options)
        self._share, self.scores_here = share, share is None
        self._environments, self._tell = environments, tell
        self.size = len(environments)

    def work(self, streams: bool, progress: Progress) -> Generator[Ended | None, None, None]:
        """Start the workers, and yield what they do until all of them have ended; stop them if the generator is closed.

        Args:
            streams: whether the workers read the parents for each point, instead of keeping them in memory.
            progress: `progress.of_worker(n)` receives what worker n does.

        Yields:
            Each point that a worker is done with, and from time to time None.

        Raises:
            CalibError: a mistake that stops every worker, or all of them died.
        """
        inbox: _Inbox = queue.SimpleQueue()
        job = WorkerJob(*self._job, streams, None if self._share is None else dict(self._share))
        workers = [_Worker(i, job, own, inbox, progress) for i, own in enumerate(self._environments, 1)]
        try:
            for worker in workers:
                worker.start()
            while any(worker.is_running for worker in workers):
                ended: list[Ended] = []
                for number, event in _arrived(inbox):
                    ended += self._handle(event, workers[number - 1], workers)
                for worker in workers:
                    worker.end_children()
                yield from ended or (None,)
        finally:
            _stop(workers)
        if not any(worker.is_done for worker in workers):
            died = "; ".join(f"worker {worker.number} {worker.death}" for worker in workers)
            raise CalibError(f"every worker died ({died}); the same command goes on")

    def _handle(self, event: _Event, worker: _Worker, workers: Sequence[_Worker]) -> list[Ended]:
        """Pass on an event, and return the point that it says is done, if any."""
        kind = event["event"]
        if kind == "point":
            worker.progress.point_started(event["id"])
        elif kind == "help":
            worker.progress.helping(event["id"])
        elif kind == "scoring":
            worker.progress.scoring(event["entry"], event["done"], event["total"])
        elif kind == "done":
            return [Ended(event["id"], event["reason"])]
        elif kind == "note":
            self._tell(event["text"])
        elif kind == "mistake":
            raise CalibError(event["text"])
        elif kind == "crash":
            worker.crash = event["text"]
        elif kind == "exit":
            self._ended(worker, workers)
        return []

    def _ended(self, worker: _Worker, workers: Sequence[_Worker]) -> None:
        """Note that a worker's process is over, and start it again if it died and there may be points left."""
        worker.is_running = False
        worker.progress.concluding()
        if worker.is_done:
            return
        if worker.n_starts > _RESTARTS:
            _LOG.warning("worker %d %s for the third time; it is not started again", worker.number, worker.death)
        elif not any(other.is_done for other in workers):
            _LOG.warning(
                "worker %d %s; it is started again (%d of %d)", worker.number, worker.death, worker.n_starts, _RESTARTS
            )
            worker.start()


class _Worker:
    """A worker, which is a process at a time, and a thread that reads its events.

    Attributes:
        number: from 1.
        progress: receives what the worker does.
        n_starts: how often it was started.
        is_running: whether its process is there, or events of it were not read yet.
        crash: the message of the unknown exception that ended it; empty if there was none.
    """

    def __init__(
        self, number: int, job: WorkerJob, environment: Mapping[str, str], inbox: _Inbox, progress: Progress
    ) -> None:
        self.number, self._job, self._inbox, self._all = number, job, inbox, progress
        self._environment = {**os.environ, **environment}
        self.progress = progress
        self.n_starts, self.is_running, self.crash = 0, False, ""
        self._process: subprocess.Popen[str] | None = None

    @property
    def is_done(self) -> bool:
        """Whether the worker ended because no point was left."""
        return not self.is_running and self._process is not None and self._process.returncode == 0

    @property
    def death(self) -> str:
        """How the worker died, as a clause."""
        status = self._process.returncode if self._process else None
        if self.crash:
            return f"failed: {self.crash}"
        if status is not None and status < 0:
            name = signal.Signals(-status).name
            return f"was killed by {name}{' (is memory short?)' if name == 'SIGKILL' else ''}"
        return f"ended with status {status}"

    def start(self) -> None:
        """Start the worker's process, with the same import paths as this one, in a process group of its own."""
        code = f"import sys; sys.path[:] = {sys.path!r}; from {WorkerJob.__module__} import main; main()"
        self.n_starts, self.is_running, self.crash = self.n_starts + 1, True, ""
        self.progress = self._all.of_worker(self.number)
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=self._environment,
            start_new_session=True,
        )
        assert self._process.stdin is not None  # it stays open: the worker ends when it closes
        with suppress(OSError):  # it died already
            self._process.stdin.write(self._job.line())
            self._process.stdin.flush()
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with suppress(OSError, ValueError):  # closed, or a line that a killed worker did not finish
            for line in process.stdout:
                self._inbox.put((self.number, json.loads(line)))
        process.wait()
        self._inbox.put((self.number, {"event": "exit"}))

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the worker, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def end_children(self) -> None:
        """Kill what a dead worker has started, since it may hold the pipe open that the events come through."""
        if self.is_running and self._process is not None and self._process.poll() is not None:
            self._kill()

    def end(self, deadline: float) -> None:
        """Wait until the process is over, and at a time of `time.monotonic()` kill it and its children."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.wait()
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def _kill(self) -> None:
        assert self._process is not None
        if not hasattr(os, "killpg"):
            self._process.kill()
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _arrived(inbox: _Inbox) -> Iterator[tuple[int, _Event]]:
    """Wait for an event, and yield all that have come: that a point is begun is told before it is found scored."""
    with suppress(queue.Empty):
        yield inbox.get(timeout=_POLL)
        while True:
            yield inbox.get_nowait()


def _stop(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.ask_to_stop()
    deadline = time.monotonic() + _PATIENCE
    for worker in workers:
        worker.end(deadline)
