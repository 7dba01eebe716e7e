"""A sample of `full_disk.py`: whichever write finds the disk full, one line says so, and the same command goes on."""

from __future__ import annotations

import pytest

from faults.disks import outcome, small_disk
from faults.kills import audit_kills
from faults.warm_sweeps import result

# What the disk is full for; the sample takes the first event of each.
WRITES = ["sweep.yml", "run.log", ".parquet", "scratch/model", "README.md"]


def test_a_disk_that_is_full_from_a_write_on(sweeps, tmp_path):
    events = audit_kills(sweeps, tmp_path / "undisturbed")
    expected = result(tmp_path / "undisturbed")
    sample = [next(event for event in events if event.what.endswith(name)) for name in WRITES]
    ends = {}
    try:
        with small_disk(tmp_path / "disk") as disk:
            for event in sample:
                ends[str(event)] = outcome(sweeps, event, disk, expected)
    except PermissionError as problem:
        pytest.skip(f"no small disk can be mounted here: {problem}")
    assert {event: wrong for event, (_, wrong) in ends.items() if wrong} == {}
    assert sum(was_ended for was_ended, _ in ends.values()) >= len(sample) - 1
