"""One process that has imported everything, from which the fault tests fork their sweeps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults.warm_sweeps import WarmSweeps, warm_sweeps


@pytest.fixture(scope="session")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmSweeps]:
    with warm_sweeps(tmp_path_factory.mktemp("sweeps")) as started:
        yield started
