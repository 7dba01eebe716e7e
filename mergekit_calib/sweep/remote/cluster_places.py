"""The places that a cluster has for workers: how many there are, and what each takes of its node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mergekit_calib.errors import CalibError


@dataclass(frozen=True)
class NodeResources:
    """What a node offers.

    Attributes:
        name: its name, for messages.
        cpus: its CPUs.
        gpus: its GPUs.
    """

    name: str
    cpus: int
    gpus: int


@dataclass(frozen=True)
class Places:
    """Workers on a cluster.

    Attributes:
        n_workers: how many there are.
        gpus: the GPUs of each; 0 on a cluster without any.
        cpus: the CPUs of each.
    """

    n_workers: int
    gpus: int
    cpus: int


def places_for_workers(
    nodes: Sequence[NodeResources], gpus_per_worker: int = 1, n_workers: int | None = None
) -> Places:
    """Return the places of workers on a cluster.

    Without GPUs, workers take CPUs: one worker for each node unless `n_workers` is given, with equal shares.

    Args:
        nodes: what the nodes offer.
        gpus_per_worker: the GPUs of each worker, all on one node.
        n_workers: how many workers there are at most; None for as many as have room.

    Raises:
        CalibError: not one worker has room, or more are asked for than there are CPUs.
    """
    most_gpus = max((node.gpus for node in nodes), default=0)
    if most_gpus:
        fitting = [node for node in nodes if node.gpus >= gpus_per_worker]
        if not fitting:
            raise CalibError(
                f"a worker needs {gpus_per_worker} GPUs of one node (gpus_per_worker), and the largest of the "
                f"cluster's {_counted(len(nodes), 'node')} has {most_gpus}"
            )
        room = sum(node.gpus // gpus_per_worker for node in fitting)
        cpus = min(node.cpus * gpus_per_worker // node.gpus for node in fitting)
        return Places(min(room, n_workers or room), gpus_per_worker, cpus)
    if gpus_per_worker > 1:
        raise CalibError(f"a worker needs {gpus_per_worker} GPUs (gpus_per_worker), and the cluster has none")
    n_cpus, wanted = sum(node.cpus for node in nodes), n_workers or sum(node.cpus > 0 for node in nodes)
    for cpus in range(max((node.cpus for node in nodes), default=0), 0, -1):
        if wanted and sum(node.cpus // cpus for node in nodes) >= wanted:
            return Places(wanted, 0, cpus)
    raise CalibError(f"the cluster has no GPU and {_counted(n_cpus, 'CPU')}: too few for {_counted(wanted, 'worker')}")


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
