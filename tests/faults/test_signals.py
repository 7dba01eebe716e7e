"""Ctrl-C and signals in each phase of a run: a line, the exit status of the signal, and a folder that goes on."""

from __future__ import annotations

import os
import pty
import re
import signal
import threading

import pytest

from faults.warm_sweeps import Ended, result, whole_points

# Phase in which the run is stopped → how many of the four points it has told of then.
PHASES = {"preparing": 0, "merging": 2, "scoring": 2, "telling": 2, "writing": 4, "saving": 4, "drawing": 4}


@pytest.fixture(scope="module")
def undisturbed(sweeps, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert sweeps.run(out).status == 0
    return result(out)


def signalled(sweeps, out, phase: str, number: int, is_terminal: bool) -> Ended:
    """Run the command, and send it a signal in a phase; in a terminal, `says` is what the terminal got."""
    if not is_terminal:
        run = sweeps.start(out, command=True, stop=phase)
        run.wait_until_stopped()
        os.kill(run.pid, number)
        os.kill(run.pid, signal.SIGCONT)
        return run.wait()
    master, slave = pty.openpty()
    printed = []

    def read() -> None:
        while True:
            try:
                printed.append(os.read(master, 1 << 16))
            except OSError:  # nobody holds the other end any more
                return

    reader = threading.Thread(target=read)
    reader.start()
    run = sweeps.start(out, command=True, stop=phase, terminal=os.ttyname(slave))
    run.wait_until_stopped()
    os.close(slave)
    os.kill(run.pid, number)
    os.kill(run.pid, signal.SIGCONT)
    ended = run.wait()
    reader.join()
    os.close(master)
    return Ended(ended.status, b"".join(printed).decode(), ended.scored)


@pytest.mark.parametrize(
    ("phase", "number", "is_terminal"),
    [(phase, signal.SIGINT, i % 2 == 1) for i, phase in enumerate(PHASES)]
    + [("scoring", signal.SIGTERM, True), ("writing", signal.SIGHUP, False)],
)
def test_a_signal_is_one_line_and_the_same_command_goes_on(sweeps, tmp_path, undisturbed, phase, number, is_terminal):
    out = tmp_path / "out"
    stopped = signalled(sweeps, out, phase, number, is_terminal)
    assert stopped.status == 128 + number, stopped.says
    assert "Traceback" not in stopped.says
    assert "Aborted" not in stopped.says
    if PHASES[phase]:
        kept = re.search(r"Stopped: (\d) of 4 points kept; the same command goes on", stopped.says)
        assert kept, stopped.says
        assert int(kept[1]) >= PHASES[phase]
    else:
        assert "Stopped before a point was scored" in stopped.says
        assert not out.exists()
    whole = whole_points(out)
    again = sweeps.run(out)
    assert again.status == 0, again.says
    assert not whole & set(again.scored)
    assert result(out) == undisturbed
