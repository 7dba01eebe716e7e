"""Workers as actors of a Ray cluster.

It relies on Ray 2.60: `init`, `nodes`, `remote`, `wait`, `get`, `kill`, actors with `max_restarts` and
`max_concurrency`, and `exceptions`. Ray is imported when a cluster is used; it is the extra `[ray]`.
"""

from __future__ import annotations

import logging
import pickle
import signal
import socket
import threading
import time
import traceback
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mergekit_calib.errors import CalibError, ScorerRefusedError, one_line
from mergekit_calib.scoring.requests import EntryProgress
from mergekit_calib.sweep.remote.cluster_places import NodeResources, Places
from mergekit_calib.sweep.remote.node_worker import NodeWorker
from mergekit_calib.sweep.remote.remote_scorer import Life, RemoteFailure, WorkerDiedError

_POLL = 1.0  # seconds between questions how far a worker is
_CONNECT = 10.0  # seconds to reach the cluster's address
_LONGEST = 300  # characters of a message of Ray


@dataclass(frozen=True)
class _Answer:
    """What a method of `NodeWorker` returned, pickled, or the error that it raised, with its traceback."""

    value: bytes = b""
    error: str = ""
    message: str = ""
    trace: str = ""
    is_of_this_life: bool = True


class RayActor(NodeWorker):
    """A `NodeWorker` in a process of Ray's."""

    def __init__(self) -> None:
        super().__init__()
        self._id = uuid.uuid4().hex

    def life(self) -> Life:
        """Return this life of the worker."""
        ray = _ray()
        return Life(self._id, f"node {socket.gethostname()} ({ray.get_runtime_context().get_node_id()[:8]})")

    def do(self, life: str, method: str, arguments: bytes) -> _Answer:
        """Call a method with pickled arguments; arrays of answers are thus the driver's own, outside Ray's store.

        A worker that was started again since the driver asked for its life has lost what the method relies on.
        """
        if life != self._id:
            return _Answer(is_of_this_life=False)
        try:
            return _Answer(pickle.dumps(getattr(self, method)(*pickle.loads(arguments))))
        except Exception as problem:
            return _Answer(error=type(problem).__name__, message=str(problem), trace=traceback.format_exc())


class RayCluster:
    """A connection to a Ray cluster; what was started through it ends with this process.

    Args:
        address: `auto` for the cluster of this machine (or of `RAY_ADDRESS`), or `host:port`.

    Raises:
        CalibError: Ray is not installed, or no cluster answers at the address.
    """

    def __init__(self, address: str) -> None:
        ray = _ray()
        _check_address(address)
        before = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
        except (ConnectionError, RuntimeError, ValueError) as problem:
            reason = one_line(str(problem), _LONGEST)
            raise CalibError(f"--ray {address}: {reason} (`ray start --head` starts a cluster)") from problem
        finally:
            if before is not None and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray's own handler would end the process without our messages

    @property
    def nodes(self) -> list[NodeResources]:
        """What the living nodes offer in all, whether or not it is in use."""
        return [
            NodeResources(
                node["NodeManagerHostname"],
                int(node["Resources"].get("CPU", 0)),
                int(node["Resources"].get("GPU", 0)),
            )
            for node in _ray().nodes()
            if node["Alive"]
        ]

    def worker(self, places: Places) -> RayWorker:
        """Return a new worker; it starts as soon as a node has room for it."""
        return RayWorker(places)

    def close(self) -> None:
        """End the connection, and with it every worker that was started through it."""
        _ray().shutdown()


class RayWorker:
    """A worker that is an actor; Ray starts it again, on the same node or another, when it dies.

    Args:
        places: what it takes of its node.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._life = ""  # the worker's life, when it answered last
        self._question: Any = None  # the call of `life` that is not answered yet
        self._actor = self._started()

    def wait(self, seconds: float) -> Life | None:
        """Wait until the worker answers, and return its present life; None if it does not within `seconds`."""
        ray, until = _ray(), time.monotonic() + seconds
        while True:
            if self._question is None:
                self._question = self._actor.life.remote()
            left = max(0.0, until - time.monotonic())
            ready, _ = ray.wait([self._question], timeout=left)
            if not ready:
                return None
            question, self._question = self._question, None
            try:
                life: Life = ray.get(question)
                self._life = life.id
                return life
            except ray.exceptions.ActorUnavailableError:
                pass  # it is being started again
            except ray.exceptions.ActorDiedError as problem:
                if "creation task" in str(problem):
                    raise ScorerRefusedError(f"a worker cannot start: {_last_line(problem)}") from problem
                self._actor = self._started()
            except ray.exceptions.RayError:
                pass
            if time.monotonic() >= until:
                return None
            time.sleep(min(_POLL, max(0.0, until - time.monotonic())))

    def ask(self, method: str, *arguments: Any, progress: EntryProgress | None = None) -> Any:
        """Call a method of `NodeWorker`, and return what it returns.

        Args:
            method: the method's name.
            *arguments: its arguments.
            progress: told how far the worker is.

        Raises:
            WorkerDiedError: the worker or its node died before it answered.
            RemoteFailure: the method raised an error.
        """
        ray = _ray()
        call = self._actor.do.remote(self._life, method, pickle.dumps(arguments))
        try:
            while not ray.wait([call], timeout=_POLL)[0]:
                self._report(progress)
            answer: _Answer = ray.get(call)
        except ray.exceptions.RayError as problem:
            raise WorkerDiedError(_last_line(problem)) from problem
        if not answer.is_of_this_life:
            raise WorkerDiedError("it was started again")
        if answer.error:
            logging.getLogger(__name__).info("%s", answer.trace)
            raise type(answer.error, (RemoteFailure,), {})(answer.message)
        return pickle.loads(answer.value)

    def _started(self) -> Any:
        actor_class = _ray().remote(
            num_gpus=self._places.gpus, num_cpus=self._places.cpus, max_restarts=-1, max_concurrency=2
        )(RayActor)
        return actor_class.remote()

    def _report(self, progress: EntryProgress | None) -> None:
        """Tell how far the worker is, if it says so."""
        if progress is None:
            return
        ray = _ray()
        question = self._actor.progress.remote()
        with suppress(ray.exceptions.RayError):
            if ray.wait([question], timeout=_POLL)[0] and (told := ray.get(question)):
                progress(*told)


def _ray() -> Any:
    """Return the module `ray`.

    Raises:
        CalibError: it is not installed.
    """
    try:
        import ray
        import ray.exceptions
    except ImportError as problem:
        raise CalibError('Ray is not installed; `pip install "mergekit-calib[ray]"` installs it') from problem
    return ray


def _check_address(address: str) -> None:
    """Check that something listens at `host:port`; Ray itself waits long for it, and may end the process."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise CalibError(f"--ray {address}: expected auto or HOST:PORT, as `ray start --head` prints it")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT).close()
    except (OSError, OverflowError) as problem:
        raise CalibError(f"--ray {address}: no Ray cluster can be reached there: {problem}") from problem


def _last_line(problem: Exception) -> str:
    """Return the last line of a message of Ray, which ends with the cause."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else type(problem).__name__, _LONGEST)
