"""Kill a small sweep at a write, run it again, and say what is wrong with the end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.warm_sweeps import Run, WarmSweeps, result, whole_points

# What changes a file without an event of Python's audit hook: writes, and whatever native code does.
SYSCALLS = (
    "write pwrite64 writev fsync fdatasync ftruncate fallocate sendfile copy_file_range renameat renameat2".split()
)


class TracingRefusedError(Exception):
    """The system does not let strace trace another process."""


@dataclass(frozen=True)
class Kill:
    """Where a run is killed.

    Attributes:
        number: of the event, from 1; of this system call, if one is given.
        what: the event, for messages.
        syscall: the system call; None for an event of Python's audit hook.
    """

    number: int
    what: str
    syscall: str | None = None

    def __str__(self) -> str:
        return f"{self.syscall or 'event'} {self.number} ({self.what})"


def audit_kills(sweeps: WarmSweeps, out: Path) -> list[Kill]:
    """Run a sweep into `out`, and return a kill before each event of Python that changes something in it."""
    run = sweeps.start(out, counts=True)
    ended = run.wait()
    assert ended.status == 0, ended.says
    events = (run.folder / "events").read_text().splitlines()
    return [Kill(number, event) for number, event in enumerate(events, start=1)]


def syscall_kills(sweeps: WarmSweeps, out: Path) -> list[Kill]:
    """Run a sweep into `out` under strace, and return a kill before each of `SYSCALLS` that changes something in it."""
    run, log = sweeps.start(out, waits=True), out.with_suffix(".strace")
    with _traced(run, ["-y", "-o", str(log), "-e", f"trace={','.join(SYSCALLS)}"]):
        ended = run.wait()
    assert ended.status == 0, ended.says
    kills, counts = [], Counter[str]()
    line = re.compile(rf"{run.pid} +(\w+)\((.*)")
    for found in filter(None, map(line.match, log.read_text(errors="replace").splitlines())):
        call, arguments = found.groups()
        counts[call] += 1
        if str(out) in arguments:
            files = re.findall(rf"{re.escape(str(out))}/?([^>\"]*)", arguments)
            kills.append(Kill(counts[call], " → ".join(dict.fromkeys(files)), call))
    return kills


def outcome(sweeps: WarmSweeps, kill: Kill, out: Path, undisturbed: dict[str, Any]) -> tuple[bool, list[str]]:
    """Kill a run into `out`, and run it again.

    Args:
        sweeps: start runs.
        kill: where.
        out: a new folder; it is removed if all is well.
        undisturbed: the `result` of a run that nobody killed.

    Returns:
        Whether the run was killed, which it is not if its threads wrote in another order; and what is wrong.
    """
    run = sweeps.start(out, waits=True) if kill.syscall else sweeps.start(out, kill=kill.number)
    if kill.syscall:
        inject = f"inject={kill.syscall}:signal=KILL:when={kill.number}"
        with _traced(run, ["-o", "/dev/null", "-e", f"trace={kill.syscall}", "-e", inject]):
            first = run.wait()
    else:
        first = run.wait()
    whole = whole_points(out)
    again = sweeps.run(out)
    wrong = [] if first.status in (0, -signal.SIGKILL) else [f"the killed run ended with {first.status}: {first.says}"]
    if again.status != 0:
        wrong.append(f"the next run ended with {again.status}: {again.says[-2000:]}")
    if twice := sorted(whole & set(again.scored)):
        wrong.append(f"scored again: {', '.join(twice)}")
    if again.status == 0:
        wrong += differences(result(out), undisturbed)
    if not wrong:
        shutil.rmtree(out)
    return first.status == -signal.SIGKILL, wrong


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Return where two results differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys())
        return [line for key in keys for line in differences(one.get(key), other.get(key), f"{where}/{key}")]
    if where == "/names" and one != other:
        return [f"files left over: {sorted(set(one) - set(other))}; missing: {sorted(set(other) - set(one))}"]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [line for i in range(len(one)) for line in differences(one[i], other[i], f"{where}/{i}")]
    return [] if one == other else [f"{where}: {str(one)[:200]} instead of {str(other)[:200]}"]


class _traced:
    """Trace a run that waits for a signal, and let it go on."""

    def __init__(self, run: Run, options: Sequence[str]) -> None:
        self._run, self._options = run, options

    def __enter__(self) -> None:
        self._run.wait_until_stopped()
        pid = self._run.pid
        command = ["strace", "-qq", "-f", "-p", str(pid), *self._options]
        self._strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        status = Path(f"/proc/{pid}/status")
        while "TracerPid:\t0\n" in status.read_text():
            if self._strace.poll() is not None:
                os.kill(pid, signal.SIGKILL)
                raise TracingRefusedError(self._strace.communicate()[1].strip())
            time.sleep(0.01)
        os.kill(pid, signal.SIGCONT)

    def __exit__(self, *_: object) -> None:
        self._strace.communicate(timeout=60)
