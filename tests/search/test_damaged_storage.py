"""A study whose journal was not written to its end, or whose database is locked for a while."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from mergekit_calib.errors import LostStudyError
from mergekit_calib.recipe.axes import read_axis
from mergekit_calib.search import database
from mergekit_calib.search.study import Study

AXES = {"x": read_axis([1, 2, 3, 4])}


def study(where) -> Study:
    return Study(where, "s", AXES, ["maximize"], session="a")


def settings_in(where) -> list[dict]:
    again = study(where)
    return [again.setting_of(trial) for trial in again.trials()]


@pytest.mark.parametrize("rest", [b'{"op_code":5,"wor', b"\0\0\0\0", b"{", b"\xff\xfe"])
def test_an_unfinished_line_costs_nothing_else(tmp_path, rest):
    log = tmp_path / "study.log"
    first, second = study(log), study(log)
    first.start({"x": 1})
    with log.open("ab") as file:
        file.write(rest)  # of a third worker, on a full disk
    first.start({"x": 2})
    second.start({"x": 3})
    study(log).start({"x": 4})
    assert settings_in(log) == [{"x": value} for value in (1, 2, 3, 4)]
    assert not list(tmp_path.glob("*.unreadable*"))


@pytest.mark.parametrize("line", [b"null", b"[]", b'{"op_code":99}', b'"text"', b"\xff", b'{"op_code":4}', b"1"])
def test_a_journal_that_cannot_be_read_is_set_aside(tmp_path, line):
    log = tmp_path / "study.log"
    study(log).start({"x": 1})
    log.write_bytes(line + b"\n" + log.read_bytes())
    assert settings_in(log) == []
    (kept,) = tmp_path.glob("study.log.unreadable*")
    assert kept.read_bytes().startswith(line)


def test_a_locked_database_is_waited_for(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db?timeout=0.05"
    here = study(url)
    other = sqlite3.connect(tmp_path / "study.db", check_same_thread=False, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.5, other.execute, ["COMMIT"])
    release.start()
    here.start({"x": 1})
    release.join()
    other.close()
    assert settings_in(url) == [{"x": 1}]


def test_a_database_that_stays_away_is_one_line_without_its_url(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "_PATIENCE", 0.5)
    url = f"sqlite:///{tmp_path}/secret.db?timeout=0.05"
    here = study(url)
    other = sqlite3.connect(tmp_path / "secret.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LostStudyError, match="goes on") as caught:
        here.start({"x": 1})
    for part in ("secret", "SQL:", "\n"):
        assert part not in str(caught.value)
    other.close()
