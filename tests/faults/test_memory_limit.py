"""Memory that runs out: one line, and the same command goes on when there is more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from faults.warm_sweeps import result, whole_points


@pytest.mark.parametrize("fault", ["memory", "memory while scoring"])
def test_a_limit_ends_in_one_line_and_the_same_command_goes_on(sweeps, tmp_path, fault):
    out = tmp_path / "out"
    limited = sweeps.run(out, command=True, **{fault: 1 << 18})
    assert limited.status == 1, limited.says
    (error,) = re.findall("^Error: (.*)", limited.says, re.MULTILINE)
    assert limited.says.rstrip().endswith(error)
    assert "memory ran out" in error
    log = Path(re.search(r"traceback is in ([^)]+)", error)[1])
    assert "Traceback" in log.read_text()
    if not log.is_relative_to(out):
        log.unlink()

    whole = whole_points(out)
    again = sweeps.run(out)
    assert again.status == 0, again.says
    assert not whole & set(again.scored)
    assert sweeps.run(tmp_path / "undisturbed").status == 0
    assert result(out) == result(tmp_path / "undisturbed")
