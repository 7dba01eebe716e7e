"""Two workers on one folder, one of which is killed in a phase of its work: the other takes over."""

from __future__ import annotations

import time

import pytest

from faults.warm_sweeps import result, whole_points

# "deciding", "telling", "writing" and "saving" hold a lock that the other worker waits for.
PHASES = ["deciding", "merging", "scoring", "storing", "telling", "writing", "saving"]


def in_order(found):
    """Sort the points, which stand in the order in which they were proposed; a lost one is proposed again later."""
    found["frontier"]["points"].sort(key=lambda point: point["id"])
    return found


@pytest.fixture(scope="module")
def undisturbed(sweeps, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert sweeps.run(out).status == 0
    return in_order(result(out))


@pytest.mark.parametrize("phase", PHASES)
def test_the_other_worker_finishes_what_a_killed_one_began(sweeps, tmp_path, undisturbed, phase):
    out = tmp_path / "out"
    doomed = sweeps.start(out, stop=phase)
    doomed.wait_until_stopped()
    whole = whole_points(out)
    other = sweeps.start(out)
    while not other.is_over and len(whole_points(out)) == len(whole) and phase in ("merging", "scoring", "storing"):
        time.sleep(0.02)  # it holds no lock, so that the other works beside it
    assert doomed.kill().status == -9
    ended = other.wait()
    assert ended.status == 0, ended.says
    assert not whole & set(ended.scored)
    assert in_order(result(out)) == undisturbed
