"""What stops a command becomes one line and an exit status; what was computed is kept."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from helpers.report_factory import make_frontier
from mergekit_calib import stopping
from mergekit_calib.errors import CalibError
from mergekit_calib.integrations.boundary import Stopped, boundary, explain
from mergekit_calib.integrations.run_log import RunLog
from mergekit_calib.recipe import dump_recipe
from mergekit_calib.results.frontier import Frontier

BIN = Path(sys.executable).parent


def run(raising: BaseException | None, argument: str = "") -> tuple[int, str]:
    @click.command()
    def command() -> None:
        with boundary():
            if raising is not None:
                raise raising

    done = CliRunner().invoke(command)
    return done.exit_code, done.output


class Odd(Exception):
    pass


def ends_early(log: RunLog) -> None:
    with log:
        print("said by a host")
        raise Odd("early")


def ends_in_the_middle(log: RunLog) -> None:
    with log:
        log.started(make_frontier(), 3)
        raise Odd("in the middle")


def ends_by(number: int) -> None:
    with boundary():
        os.kill(os.getpid(), number)
        time.sleep(5)


class TestExceptions:
    def test_a_mistake_of_the_user_is_its_message(self):
        assert run(CalibError("two\nlines")) == (1, "Error: two lines\n")

    def test_an_unknown_exception_is_one_line_that_names_the_file_with_its_traceback(self):
        status, output = run(Odd("something\nodd" + "!" * 1000))
        assert (status, output.count("\n")) == (1, 1)
        assert "Odd: something odd!" in output
        assert "report it" in output
        assert len(output) < 500
        log = Path(re.search(r"traceback is in ([^)]+)", output)[1])
        assert "Traceback (most recent call last)" in log.read_text()
        assert "raise raising" in log.read_text()
        log.unlink()

    def test_the_run_log_holds_the_traceback_of_a_sweep(self, tmp_path):
        log = RunLog(tmp_path, print)
        with pytest.raises(Odd) as caught:
            ends_in_the_middle(log)
        assert str(tmp_path / "calibration" / "run.log") in explain(caught.value)
        assert "Odd: in the middle" in (tmp_path / "calibration" / "run.log").read_text()

    def test_before_a_sweep_has_its_folder_a_temporary_file_holds_log_and_traceback(self, tmp_path):
        with pytest.raises(Odd) as caught:
            ends_early(RunLog(tmp_path, print))
        log = Path(re.search(r"traceback is in ([^)]+)", explain(caught.value))[1])
        assert "said by a host" in log.read_text()
        assert "Odd: early" in log.read_text()
        assert not list(tmp_path.iterdir())
        log.unlink()

    def test_memory_that_ran_out_is_said_in_plain_words(self):
        status, output = run(MemoryError())
        assert status == 1
        assert "memory ran out" in output
        assert "report" not in output

    def test_an_error_of_the_file_system_names_the_file(self, tmp_path):
        status, output = run(FileNotFoundError(2, "No such file or directory", str(tmp_path / "gone")))
        assert status == 1
        assert str(tmp_path / "gone") in output
        assert "traceback" not in output

    @pytest.mark.parametrize(
        ("stop", "status"),
        [(KeyboardInterrupt(), 130), (Stopped(signal.SIGTERM), 143), (Stopped(signal.SIGHUP), 129)],
    )
    def test_a_stop_has_the_exit_status_of_its_signal(self, stop, status):
        assert run(stop) == (status, "")


def test_handlers_of_signals_are_put_back():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with pytest.raises(SystemExit) as ended:
        ends_by(signal.SIGTERM)
    assert ended.value.code == 143
    assert {number: signal.getsignal(number) for number in before} == before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with boundary():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_ends_the_process_at_once():
    program = """
import os, signal, time
from mergekit_calib.integrations.boundary import boundary
with boundary():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(30)
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(30)
        print("still here")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.fixture
def recipe(make_model, task, tmp_path) -> Path:
    path = tmp_path / "sweep.yml"
    values = [round(0.01 * i, 2) for i in range(1, 100)]  # too many for a run to end before the signal comes
    sweep = {
        "merge_method": "calibration_sweep",
        "base_model": str(make_model(seed=1)),
        "models": [{"model": str(make_model(seed=2))}],
        "parameters": {"method": "linear"},
        "dtype": "bfloat16",
        "calibration": {"axes": {"lambda": values}, "suite": [task], "n_resamples": 100},
    }
    path.write_text(dump_recipe(sweep))
    return path


def signalled(command: list, after: str, number: int, folder: Path, terminal: bool = False) -> tuple[int, str]:
    """Run a command, send it a signal when it has printed `after`, and return its exit status and its output."""
    master, slave = pty.openpty() if terminal else os.pipe()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [str(c) for c in command], cwd=folder, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=env
    )
    os.close(slave)
    printed, sent = b"", False
    while True:
        ready, _, _ = select.select([master], [], [], 120)
        assert ready, f"nothing more after: {printed.decode()[-500:]}"
        try:
            part = os.read(master, 1 << 16)
        except OSError:  # a terminal that nobody writes to any more
            part = b""
        if not part:
            break
        printed += part
        if not sent and after.encode() in printed:
            process.send_signal(number)
            sent = True
    os.close(master)
    assert sent, printed.decode()[-500:]
    return process.wait(60), printed.decode()


@pytest.mark.parametrize(
    ("command", "number", "terminal"),
    [
        ("mergekit-yaml", signal.SIGINT, False),
        ("mergekit-calib sweep", signal.SIGTERM, False),
        ("mergekit-yaml", signal.SIGHUP, False),
        ("mergekit-calib sweep", signal.SIGINT, True),
    ],
)
def test_a_signal_keeps_the_table_and_the_same_command_goes_on(recipe, tmp_path, command, number, terminal):
    arguments = [BIN / command.split()[0], *command.split()[1:], recipe.name, "out"]
    status, output = signalled(arguments, "λ = 0.03", number, tmp_path, terminal)
    assert status == 128 + number, output[-2000:]
    kept = re.search(r"Stopped: (\d+) of 101 points kept; the same command goes on", output)
    assert kept, output[-2000:]
    assert "Traceback" not in output
    assert "Aborted" not in output
    frontier = Frontier.load(tmp_path / "out")
    assert len(frontier.points) == int(kept[1]) > 2
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "calibration" / "items").iterdir()}
    assert len(files) >= int(kept[1])


def test_a_signal_that_a_library_swallows_stops_the_loop_over_the_points():
    def command() -> None:
        with boundary():
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            stopping.raise_if_asked()

    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 128 + signal.SIGTERM
    stopping.raise_if_asked()  # the next command was not asked to stop


@pytest.mark.parametrize("terminal", [False, True])
def test_a_signal_while_libraries_are_loaded(recipe, tmp_path, terminal):
    status, output = signalled(
        [BIN / "mergekit-calib", "sweep", recipe.name, "out"],
        "loading mergekit" if terminal else "oading mergekit",
        signal.SIGINT,
        tmp_path,
        terminal,
    )
    assert status == 130, output
    assert "Traceback" not in output
