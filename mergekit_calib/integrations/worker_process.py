"""A worker process: it scores points of a sweep that another process, the supervisor, has started and shows.

The supervisor sends a job, one line of JSON, on standard input and keeps that pipe open: when it closes, however the
supervisor ended, so does the worker. The worker writes its events to standard output, each a line of JSON with `event`:

- `point` (`id`): it begins a point; `help` (`id`): it scores a share of another worker's point;
- `scoring` (`entry`, `done`, `total`): how far it is with its point;
- `done` (`id`, `reason`): the point's scores are stored, or the reason why there are none;
- `note` (`text`): a line that the user must read;
- `mistake` (`text`): the message of a `CalibError` that ends it; `crash` (`text`): that of another exception.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any, TextIO

from typing_extensions import override

from mergekit_calib.errors import CalibError, ScorerLostError
from mergekit_calib.integrations.boundary import explain
from mergekit_calib.integrations.run_log import RunLog
from mergekit_calib.recipe import parse_sweep
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier

_SECONDS_BETWEEN_EVENTS = 0.2  # of progress within a point
_STDIN, _STDOUT, _STDERR = 0, 1, 2
FAILED = 1  # exit status after a `mistake` or a `crash`


@dataclass(frozen=True)
class WorkerJob:
    """What a worker is started with.

    Attributes:
        text: the recipe.
        source: the file that it came from, for messages.
        out_path: the sweep's output folder.
        options: mergekit's options.
        streams: whether the parents are read for each point.
        share: the fields of the worker's `ClusterShare`; None to score in its own process.
    """

    text: str
    source: str | None
    out_path: str
    options: dict[str, Any]
    streams: bool
    share: dict[str, Any] | None = None

    def line(self) -> str:
        """Return the job as one line of JSON."""
        return json.dumps(asdict(self)) + "\n"


class _Events(Progress):
    """Sends a worker's events to its supervisor."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._lock = out, threading.Lock()
        self._sent_at = 0.0
        self.log: RunLog | None = None

    def send(self, event: str, **values: Any) -> None:
        """Send one event; lost if the supervisor does not listen any more."""
        with self._lock:
            try:
                print(json.dumps({"event": event, **values}), file=self._out, flush=True)
            except OSError:
                return

    @override
    def started(self, frontier: Frontier, n_points: int | None) -> None:
        if self.log is not None:
            self.log.started(frontier, n_points)

    @override
    def point_started(self, point_id: str) -> None:
        self.send("point", id=point_id)

    @override
    def helping(self, point_id: str) -> None:
        self.send("help", id=point_id)

    @override
    def scoring(self, entry: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._sent_at > _SECONDS_BETWEEN_EVENTS or done >= total:
            self._sent_at = now
            self.send("scoring", entry=entry, done=done, total=total)


def main() -> None:
    """Run the job that stands on standard input, and exit: with 0 when there are no more points."""
    supervisor, out = os.dup(_STDIN), os.dup(_STDOUT)  # not inherited by child processes, as 0 and 1 are
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, _STDIN)
    os.dup2(_STDERR, _STDOUT)  # what native code prints is no event
    signal.signal(signal.SIGTERM, _stop)
    with os.fdopen(supervisor, encoding="utf-8", closefd=False) as jobs:
        line = jobs.readline()
    threading.Thread(target=_end_with, args=(supervisor,), daemon=True).start()
    sys.exit(_run(WorkerJob(**json.loads(line)), _Events(os.fdopen(out, "w", encoding="utf-8"))))


def _run(job: WorkerJob, events: _Events) -> int:
    """Score points until there are no more, and return the exit status."""
    try:
        _score(job, events)
    except ScorerLostError as problem:  # the other workers go on
        events.send("crash", text=str(problem))
        return FAILED
    except CalibError as problem:
        events.send("mistake", text=str(problem))
        return FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGTERM
    except Exception as problem:
        events.send("crash", text=explain(problem))
        return FAILED
    return 0


def _score(job: WorkerJob, events: _Events) -> None:
    import torch
    from mergekit.options import MergeOptions

    from mergekit_calib.merging.method import register, registered_signatures
    from mergekit_calib.merging.recipe_keys import known_keys
    from mergekit_calib.sweep.coordinator import run_worker

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    register()
    sweep = parse_sweep(job.text, registered_signatures(), job.source, known_keys())
    options = MergeOptions.model_validate(job.options)
    elsewhere = None
    if job.share is not None:
        from mergekit_calib.sweep.remote.cluster_share import ClusterShare

        elsewhere = ClusterShare(**job.share).scorer_maker(sweep, options)
    with RunLog(job.out_path, lambda text: events.send("note", text=text), options.verbosity) as events.log:
        run_worker(
            sweep,
            job.out_path,
            options,
            events,
            lambda done: events.send("done", id=done.point, reason=done.reason),
            job.streams,
            elsewhere,
        )


def _end_with(supervisor: int) -> None:
    """End this process and its children at once when the supervisor closes the pipe."""
    while os.read(supervisor, 1024):
        pass
    if hasattr(os, "getpgid") and os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(FAILED)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the first one is enough; clean-up is not interrupted
    raise KeyboardInterrupt
