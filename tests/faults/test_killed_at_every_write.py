"""A sample of `killed_at_every_write.py`: whichever write is the last, the next run ends as one that nobody killed."""

from __future__ import annotations

import shutil

import pytest

from faults.kills import TracingRefusedError, audit_kills, outcome, syscall_kills
from faults.warm_sweeps import result

EVERY = 19  # of about 170 events


def test_killed_before_a_write_of_python(sweeps, tmp_path):
    kills = audit_kills(sweeps, tmp_path / "undisturbed")
    assert len(kills) > 100
    expected = result(tmp_path / "undisturbed")
    ends = {str(kill): outcome(sweeps, kill, tmp_path / "out", expected) for kill in kills[::EVERY]}
    assert {end: wrong for end, (was_killed, wrong) in ends.items() if wrong or not was_killed} == {}


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("file", ["calibration/study.log", "calibration/scratch/model/"])
def test_killed_at_a_write_of_optuna_or_native_code(sweeps, tmp_path, file):
    try:
        kills = syscall_kills(sweeps, tmp_path / "undisturbed")
    except TracingRefusedError as problem:
        pytest.skip(f"strace may not trace here: {problem}")
    expected = result(tmp_path / "undisturbed")
    writes = [kill for kill in kills if kill.what.startswith(file) and "write" in str(kill.syscall)]
    ends = {str(kill): outcome(sweeps, kill, tmp_path / "out", expected)[1] for kill in (writes[0], writes[-1])}
    assert {end: wrong for end, wrong in ends.items() if wrong} == {}
