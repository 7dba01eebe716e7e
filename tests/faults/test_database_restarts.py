"""A study in PostgreSQL whose server restarts or stays away in the middle of a sweep."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.warm_sweeps import Run, result

USER = "postgres"  # the server refuses to run as root; Debian's package makes this user
SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


class Server:
    """A PostgreSQL server of a test, which listens on a socket alone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._bin = folder, SERVERS[-1].parent
        self._as = {"user": USER, "group": USER, "extra_groups": []} if os.getuid() == 0 else {}
        command = [self._bin / "initdb", "-D", folder / "data", "-U", USER, "-A", "trust", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, **self._as)
        self.url = f"postgresql+psycopg://{USER}@/postgres?host={folder}"

    def start(self) -> None:
        command = [self._bin / "postgres", "-D", self.folder / "data", "-k", self.folder, "-h", "", "-F"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, **quiet, **self._as)
        ready = [self._bin / "pg_isready", "-q", "-h", self.folder]
        for _ in range(600):
            if subprocess.run(ready, check=False).returncode == 0:
                return
            assert self._process.poll() is None
            time.sleep(0.1)
        raise AssertionError("the server does not start")

    def stop(self) -> None:
        """Stop it at once, as a crash does."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if not SERVERS:
        pytest.skip("no PostgreSQL server in /usr/lib/postgresql (Debian's package `postgresql`)")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # the path of a socket is short
    if os.getuid() == 0:
        shutil.chown(folder, USER, USER)
    made = Server(folder)
    made.start()
    yield made
    made.stop()
    shutil.rmtree(folder)


@pytest.fixture
def recipe(sweeps, server, tmp_path) -> Path:
    search = {"strategy": "random", "points": 3, "storage": server.url}
    return sweeps.write_recipe(f"{tmp_path.name}.yml", axes={"lambda": {"min": 0.0, "max": 1.5}}, search=search)


def wait_for(run: Run, n_scored: int) -> None:
    while len(run.scored) < n_scored:
        assert not run.is_over, run.wait().says
        time.sleep(0.02)


def test_a_search_goes_on_when_the_server_is_back(sweeps, server, recipe, tmp_path):
    assert sweeps.run(tmp_path / "undisturbed", recipe).status == 0
    run = sweeps.start(tmp_path / "out", recipe, slow=0.5)
    for n_scored in (3, 4):  # the parents do not use the study
        wait_for(run, n_scored)
        server.stop()
        server.start()
    ended = run.wait()
    assert ended.status == 0, ended.says
    assert len(ended.scored) == len(set(ended.scored)) == 5
    assert result(tmp_path / "out") == result(tmp_path / "undisturbed")


def test_a_server_that_stays_away_is_one_line_and_the_same_command_goes_on(sweeps, server, recipe, tmp_path):
    run = sweeps.start(tmp_path / "out", recipe, slow=0.5, patience=1.0)
    wait_for(run, 3)
    server.stop()
    try:
        ended = run.wait()
        assert ended.status == 1, ended.says
        assert len(ended.lines) == 1
        assert "goes on" in ended.lines[0]
        away = sweeps.run(tmp_path / "out", recipe)
        assert away.status == 1, away.says
        assert "cannot be reached" in away.lines[0]
    finally:
        server.start()
    again = sweeps.run(tmp_path / "out", recipe)
    assert again.status == 0, again.says
    assert len({*ended.scored, *again.scored}) == len(ended.scored) + len(again.scored) == 5
