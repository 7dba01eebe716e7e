"""Runs sweeps on request, each in a forked process, so that none has to import anything; see `warm_sweeps`.

A request is a line of JSON on standard input: `{"recipe": …, "out": …, "folder": …, "fault": {…}}`. The process id of
the sweep goes into `folder/pid`, its exit status into `folder/status` (as of `Popen.returncode`), what it says into
`folder/says`, and a line for each point that it begins to score into `folder/scored`.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

RAW = 70  # exit status of a sweep that ends with an exception that is no CalibError
_PATHS_OF = {"os.rename": 2, "os.remove": 1, "os.mkdir": 1, "os.rmdir": 1, "os.link": 2, "os.symlink": 2}
_PATHS_OF |= {"os.truncate": 1, "os.chmod": 1, "os.utime": 1}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


_ballast: list[bytearray] = []


def main() -> None:
    """Import everything, and serve requests until standard input ends."""
    _import_hosts()
    for line in sys.stdin:
        request = json.loads(line)
        if request["fault"].get("warms up"):  # fills every cache, so that later runs take a second each
            _put(Path(request["folder"]) / "status", str(_sweep(request)))
            gc.freeze()  # a collection in a forked process would copy every page
            continue
        if os.fork() == 0:  # waits for the sweep, so that this process need not
            sweep = os.fork()
            if sweep == 0:
                _run(request)
            _put(Path(request["folder"]) / "pid", str(sweep))
            _, status = os.waitpid(sweep, 0)
            _put(Path(request["folder"]) / "status", str(os.waitstatus_to_exitcode(status)))
            os._exit(0)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _import_hosts() -> None:
    import torch

    from mergekit_calib.integrations import recipe_runner  # noqa: F401
    from mergekit_calib.merging.method import register
    from mergekit_calib.report.figures import pictures
    from mergekit_calib.sweep import coordinator  # noqa: F401

    torch.set_num_threads(1)  # a process with threads does not survive a fork
    register()
    # Drawing takes most of the time of so small a sweep; the files are written all the same.
    pictures.draw_pictures = lambda *_: dict.fromkeys(pictures.PICTURES, b"a picture")  # type: ignore[assignment]


def _run(request: dict[str, Any]) -> None:
    """Run a sweep, and end this process."""
    import torch

    folder = Path(request["folder"])
    says = os.open(request["fault"].get("terminal", folder / "says"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(says, 1)
    os.dup2(says, 2)
    torch.set_num_threads(1)  # before a model is loaded in threads: the first call after a fork makes a new pool
    status = RAW
    try:
        scored = os.open(folder / "scored", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        _count_scorings(lambda point: os.write(scored, f"{point}\n".encode()), request["fault"])
        _prepare_fault(request["fault"], Path(request["out"]).absolute(), folder)
        status = _sweep(request)
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(status)


def _sweep(request: dict[str, Any]) -> int:
    from mergekit.options import MergeOptions

    from mergekit_calib.errors import CalibError
    from mergekit_calib.integrations.recipe_runner import run_source

    if request["fault"].get("command"):
        from mergekit_calib.cli import main as command

        try:
            command(["sweep", request["recipe"], request["out"]])
        except SystemExit as end:
            return int(end.code or 0)
    text = Path(request["recipe"]).read_text()
    try:
        return int(run_source(text, request["out"], MergeOptions(quiet=True), request["recipe"]))
    except CalibError as problem:
        os.write(2, f"CalibError: {problem}\n".encode())
        return 1


def _count_scorings(note: Callable[[str], object], fault: dict[str, Any]) -> None:
    """Note each point that a model is run for; a phase's fault comes there."""
    from mergekit_calib.search.driver import Search

    score = Search.score

    def counted(self: Search, point: Any, digest: str, score_all: Callable[..., Any]) -> Any:
        def noted(documents: Any) -> Any:
            note(point.id)
            if seconds := fault.get("slow"):
                time.sleep(seconds)
            if "memory while scoring" in fault and point.role is None:
                _limit_memory(fault["memory while scoring"])
            return score_all(documents)

        return score(self, point, digest, noted)

    Search.score = counted  # type: ignore[method-assign]


def _prepare_fault(fault: dict[str, Any], out: Path, folder: Path) -> None:
    """Arrange for what is to go wrong in this process."""
    if "kill" in fault:
        _hook_writes(out, fault["kill"], lambda _: os.kill(os.getpid(), signal.SIGKILL))
    if "fill" in fault:
        _hook_writes(out, fault["fill"], lambda _: _fill_disk(Path(fault["with"])))
    if fault.get("counts"):
        log = os.open(folder / "events", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        _hook_writes(out, None, lambda event: os.write(log, f"{event}\n".encode()))
    if "flock" in fault:
        _refuse_locks(out, getattr(errno, fault["flock"]))
    if "patience" in fault:
        from mergekit_calib.search import database

        database._PATIENCE = fault["patience"]
    if "memory" in fault:
        _limit_memory_in_preparation(fault["memory"])
    if "stop" in fault:
        _stop_in(fault["stop"])
    if fault.get("waits"):
        os.kill(os.getpid(), signal.SIGSTOP)


def _hook_writes(out: Path, at: int | None, act: Callable[[str], object]) -> None:
    """Call `act` before the n-th event that changes something in `out`; before each, if `at` is None."""
    inside = os.fspath(out)
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            path, _, flags = arguments
            paths = (path,) if flags & _WRITES else ()
        else:
            paths = arguments[: _PATHS_OF.get(event, 0)]
        names = [os.fsdecode(path) for path in paths if isinstance(path, (str, bytes, os.PathLike))]
        if not any(name.startswith(inside) for name in names) or _does_nothing(event, names[0]):
            return
        count += 1
        if at in (None, count):
            act(f"{event} {' '.join(os.path.relpath(name, inside) for name in names)}")

    sys.addaudithook(hook)


def _fill_disk(file: Path) -> None:
    """Write a file until the disk is full."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):
        while True:
            os.write(descriptor, bytes(4096))
    os.close(descriptor)


def _does_nothing(event: str, name: str) -> bool:
    """Return whether an event changes nothing: a folder that is there is to be made, or a missing file removed."""
    return os.path.isdir(name) if event == "os.mkdir" else event == "os.remove" and not os.path.lexists(name)


def _limit_memory(n_bytes: int) -> None:
    """Let this process have at most so many bytes more, once memory that it freed earlier is in use again."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + n_bytes,) * 2)
    with suppress(MemoryError):
        while True:
            _ballast.append(bytearray(1 << 18))
    del _ballast[-max(1, n_bytes >> 18) :]


def _limit_memory_in_preparation(n_bytes: int) -> None:
    """Limit the memory of this process when a sweep's preparation begins.

    Not before: the thread that redraws the screen has started by then. CPython 3.11 waits for ever in `Thread.start` if
    the new thread runs out of memory before it says that it has started.
    """
    from mergekit_calib.sweep import coordinator

    prepare = coordinator.prepare

    def limited(*args: Any, **options: Any) -> Any:
        _limit_memory(n_bytes)
        return prepare(*args, **options)

    coordinator.prepare = limited


def _refuse_locks(out: Path, code: int) -> None:
    """Refuse `flock` for files in `out`, as a file system without locks does.

    Every lock in a run's folder is taken in Python, by this package or by filelock, through `fcntl.flock`.
    """
    flock = fcntl.flock

    def refuse_inside(file: Any, operation: int) -> None:
        descriptor = file if isinstance(file, int) else file.fileno()
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(os.fspath(out)):
            raise OSError(code, os.strerror(code))
        flock(file, operation)

    fcntl.flock = refuse_inside  # type: ignore[assignment]


def _stop_in(phase: str) -> None:
    """Stop this process (SIGSTOP) in a phase of its first point that is no parent; a test then kills it."""
    from mergekit_calib.merging.models import PointModels
    from mergekit_calib.report.figures import pictures
    from mergekit_calib.search.driver import Search
    from mergekit_calib.search.study import Study
    from mergekit_calib.sweep import coordinator
    from mergekit_calib.sweep.folder import RunFolder

    def stop() -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def before(owner: Any, name: str, condition: Callable[..., bool] = lambda *_: True) -> None:
        original = getattr(owner, name)

        def stopped(*args: Any, **options: Any) -> Any:
            if condition(*args):
                stop()
            return original(*args, **options)

        setattr(owner, name, stopped)

    if phase == "merging":
        before(PointModels, "at", lambda _, point: point.role is None)
    elif phase == "scoring":
        before(Search, "score", lambda _, point, *__: point.role is None)
    elif phase == "deciding":  # holds the lock under which workers decide; the trial is in the study
        before(Study, "name_point")
    elif phase == "storing":
        before(Search, "finish", lambda _, point, *__: point.role is None)
    elif phase == "telling":  # the scores are on disk, and the study does not know; holds the lock
        before(Study, "tell")
    elif phase == "writing":  # holds the lock under which the model is written
        before(PointModels, "write")
    elif phase == "preparing":
        before(coordinator, "prepare")
    elif phase == "drawing":
        before(pictures, "draw_pictures")
    elif phase == "saving":
        before(RunFolder, "save", lambda _, frontier: frontier.finished)
    else:
        raise ValueError(phase)


def _put(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    made = path.with_name(f"{path.name}.made")
    made.write_text(text)
    made.replace(path)


if __name__ == "__main__":
    main()
