"""A file system without `flock`, as Lustre mounted without `-o flock`, and some NFS: one worker at a time."""

from __future__ import annotations

import os
import time

import pytest

from faults.warm_sweeps import result, whole_points


@pytest.mark.parametrize("refusal", ["ENOSYS", "ENOLCK", "ENOTSUP"])
def test_one_worker_runs_a_sweep(sweeps, tmp_path, refusal):
    ended = sweeps.run(tmp_path / "out", flock=refusal)
    assert ended.status == 0, ended.says
    assert len(ended.scored) == len(whole_points(tmp_path / "out")) == 4
    assert not list((tmp_path / "out").rglob("*.lease"))


def test_a_second_worker_is_refused_and_one_that_died_is_replaced(sweeps, tmp_path):
    out = tmp_path / "out"
    first = sweeps.start(out, flock="ENOSYS", stop="scoring")
    first.wait_until_stopped()
    second = sweeps.run(out, flock="ENOLCK")
    assert second.status == 1
    (line,) = second.lines
    assert "no file locks" in line
    assert str(out) in line
    done = first.kill().scored

    again = sweeps.run(out, flock="ENOSYS")
    assert again.status == 0, again.says
    assert not set(again.scored) & set(done)
    undisturbed = tmp_path / "undisturbed"
    assert sweeps.run(undisturbed).status == 0
    assert result(out) == result(undisturbed)
    assert not list(out.rglob("*.lease"))


def test_a_lease_of_another_machine_counts_until_its_heartbeats_stop(sweeps, tmp_path):
    out = tmp_path / "out"
    first = sweeps.start(out, flock="ENOSYS", stop="scoring")
    first.wait_until_stopped()
    (lease,) = out.rglob("*.lease")
    text = lease.read_bytes().replace(os.uname().nodename.encode(), b"some-other-machine")
    first.kill()
    lease.write_bytes(text)
    assert sweeps.run(out, flock="ENOSYS").status == 1
    os.utime(lease, (time.time() - 3600,) * 2)
    assert sweeps.run(out, flock="ENOSYS").status == 0
