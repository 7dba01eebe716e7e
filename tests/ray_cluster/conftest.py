"""The cluster and the undisturbed run that tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mergekit_calib.demo import parents
from ray_cluster.three_nodes import Run, ThreeNodes, recipe_of, start


@pytest.fixture(scope="session")
def three_nodes() -> Iterator[ThreeNodes]:
    nodes = ThreeNodes()
    yield nodes
    nodes.cluster.shutdown()


@pytest.fixture(scope="session")
def recipe() -> str:
    return recipe_of(*parents())


@pytest.fixture(scope="session")
def alone(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same sweep, run by one process without Ray."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "sweep.yml").write_text(recipe)
    run = start(["-m", "mergekit_calib", "sweep", str(folder / "sweep.yml"), str(folder / "out")], folder / "out")
    status, said = run.wait()
    assert status == 0, said
    return run
