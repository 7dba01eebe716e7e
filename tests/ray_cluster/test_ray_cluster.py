"""Sweeps on a Ray cluster of three nodes: the result of one process, whatever dies meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from shutil import which

import numpy as np
import pytest

pytest.importorskip("ray.cluster_utils", reason="ray is not installed; tests/ray_cluster/run.sh installs and tests it")

from mergekit_calib.demo import parents
from ray_cluster.three_nodes import GRID, SMALL, Run, ThreeNodes, recipe_of, start

AT_WORK = "ray::RayActor.do"


def assert_same(run: Run, alone: Run) -> None:
    """Assert that two runs chose the same point and gave every item the same scores, to 1e-5."""
    ours, theirs = run.frontier, alone.frontier
    assert ours.finished
    assert ours.selected is not None
    assert theirs.selected is not None
    assert ours.selected.id == theirs.selected.id
    assert {p.id: (p.status, p.digest) for p in ours.points} == {p.id: (p.status, p.digest) for p in theirs.points}
    scored, expected = run.scored, alone.scored
    assert scored.keys() == expected.keys()
    assert len(scored) == len(GRID) + 2
    for name, point in expected.items():
        for entry, tables in point.tables.items():
            for mine, table in zip(scored[name].tables[entry], tables, strict=True):
                assert mine.doc_hashes == table.doc_hashes
                np.testing.assert_allclose(mine.log_likelihoods, table.log_likelihoods, atol=1e-5)


def test_the_frontier_is_that_of_one_process(three_nodes: ThreeNodes, recipe: str, alone: Run, tmp_path):
    run = three_nodes.run(recipe, tmp_path / "out")
    run.wait_for(lambda: len(three_nodes.actors()) == 3)
    status, said = run.wait()
    assert status == 0, said
    assert_same(run, alone)


def test_a_killed_worker_is_started_again_and_its_point_scored(three_nodes, recipe, alone, tmp_path):
    run = three_nodes.run(recipe, tmp_path / "out")
    run.wait_for(lambda: run.scored)
    victim = run.wait_for(lambda: three_nodes.actors(AT_WORK))[0]
    victim.kill()
    status, said = run.wait()
    assert status == 0, said
    assert_same(run, alone)


def test_the_other_nodes_go_on_when_one_is_removed_while_it_scores(three_nodes, recipe, alone, tmp_path):
    run = three_nodes.run(recipe, tmp_path / "out")
    run.wait_for(lambda: run.scored)
    node = run.wait_for(lambda: [n for a in three_nodes.actors(AT_WORK) if (n := three_nodes.node_of(a))])[0]
    three_nodes.remove(node)
    try:
        status, said = run.wait()
        assert status == 0, said
        assert_same(run, alone)
    finally:
        three_nodes.nodes.append(three_nodes.add())


def test_a_killed_driver_goes_on_from_the_folder_and_its_workers_end(three_nodes, recipe, alone, tmp_path):
    killed = three_nodes.run(recipe, tmp_path / "out")
    killed.wait_for(lambda: len(killed.scored) >= 2)
    orphans = three_nodes.actors()
    os.kill(killed.process.pid, signal.SIGKILL)
    killed.process.wait()
    kept = {name: point.seconds for name, point in killed.scored.items()}
    until = time.monotonic() + 60
    while any(orphan.is_running() for orphan in orphans) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(orphan.is_running() for orphan in orphans)
    run = three_nodes.run(recipe, tmp_path / "out")
    status, said = run.wait()
    assert status == 0, said
    assert_same(run, alone)
    assert {name: run.scored[name].seconds for name in kept} == kept


NODE = """
import sys
from ray.cluster_utils import Cluster
options = dict(num_cpus=1, num_gpus=1, object_store_memory=80 << 20, include_dashboard=False)
cluster = Cluster(initialize_head=True, head_node_args=options)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
HAS_NAMESPACES = subprocess.run(["unshare", "-rm", "true"], check=False).returncode == 0 if which("unshare") else False


@pytest.mark.skipif(not HAS_NAMESPACES, reason="`unshare -rm` does not work here, which gives a node files of its own")
def test_a_node_whose_parent_has_another_byte_is_refused_by_name_and_file(tmp_path):
    base, aligned = (shutil.copytree(parent, tmp_path / parent.name) for parent in parents())
    other = shutil.copytree(aligned, tmp_path / "other")
    weights = other / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    (tmp_path / "sweep.yml").write_text(recipe_of(base, aligned))
    mounted = f"mount --bind {other} {aligned} && exec {sys.executable} -c '{NODE}'"
    node = subprocess.Popen(
        ["unshare", "-rm", "sh", "-c", mounted], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert node.stdout is not None
    address = next(line.strip() for line in node.stdout if line.strip().rpartition(":")[2].isdigit())
    line = said_by("sweep.yml", "out", "--ray", address, cwd=tmp_path)
    node.communicate(timeout=60)
    assert f"{aligned}: model.safetensors" in line
    assert line.startswith("Error: node ")
    assert not list((tmp_path / "out").glob("calibration/items/*"))


def test_a_cluster_without_gpus_gives_its_cpus_to_as_many_workers_as_are_asked_for(tmp_path):
    from ray.cluster_utils import Cluster

    few = {"suite": [{"task": "calib_demo", "limit": 100}], "axes": {"lambda": [0.5]}}
    (tmp_path / "sweep.yml").write_text(recipe_of(*parents(), **few))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 0, **SMALL})
    try:
        arguments = ["sweep.yml", str(tmp_path / "out"), "--ray", cluster.address, "--workers", "2"]
        run = start(["-m", "mergekit_calib", "sweep", str(tmp_path / arguments[0]), *arguments[1:]], tmp_path / "out")
        status, said = run.wait()
    finally:
        cluster.shutdown()
    assert status == 0, said
    assert len(run.scored) == 3


def said_by(*arguments: str, cwd) -> str:
    """Return the one line that a sweep is refused with."""
    run = subprocess.run(
        [sys.executable, "-m", "mergekit_calib", "sweep", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("Error: ")]
    return line


def test_a_cluster_with_fewer_gpus_than_one_worker_needs_is_refused(three_nodes, tmp_path):
    (tmp_path / "sweep.yml").write_text(recipe_of(*parents(), gpus_per_worker=2))
    line = said_by("sweep.yml", "out", "--ray", three_nodes.address, cwd=tmp_path)
    assert "gpus_per_worker" in line
    assert not (tmp_path / "out").exists()


def test_an_address_where_no_cluster_is_is_one_line(recipe, tmp_path):
    (tmp_path / "sweep.yml").write_text(recipe)
    assert "--ray 127.0.0.1:9:" in said_by("sweep.yml", "out", "--ray", "127.0.0.1:9", cwd=tmp_path)
    assert "--ray nonsense:" in said_by("sweep.yml", "out", "--ray", "nonsense", cwd=tmp_path)
