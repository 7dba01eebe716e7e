"""What a process of the driver needs to know to have one worker of a Ray cluster score its points."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from mergekit.options import MergeOptions

from mergekit_calib.recipe import Sweep
from mergekit_calib.sweep.point_scorer import PointScorer
from mergekit_calib.sweep.prepared import Prepared
from mergekit_calib.sweep.remote.cluster_places import Places, places_for_workers
from mergekit_calib.sweep.remote.node_content import content_here
from mergekit_calib.sweep.remote.node_worker import Job
from mergekit_calib.sweep.remote.ray_workers import RayCluster
from mergekit_calib.sweep.remote.remote_scorer import Patience, RemoteScorer


@dataclass(frozen=True)
class RaySettings:
    """A Ray cluster that scores points.

    Attributes:
        address: `auto`, or `host:port`.
        seconds: how long a worker waits for a place before its point is given back.
    """

    address: str
    seconds: float = Patience.place


@dataclass(frozen=True)
class ClusterShare:
    """One worker's share of a Ray cluster; plain data, which JSON can hold.

    Attributes:
        address: the cluster's address.
        gpus, cpus: what the worker takes of its node.
        seconds: as in `RaySettings`.
    """

    address: str
    gpus: int
    cpus: int
    seconds: float

    def scorer_maker(self, sweep: Sweep, options: MergeOptions) -> Callable[[Prepared], PointScorer]:
        """Attach this process to the cluster, and return what makes its scorer, for `run_worker`.

        Args:
            sweep: the parsed sweep, before it is prepared.
            options: mergekit's options.

        Raises:
            CalibError: the cluster cannot be reached.
        """
        cluster = RayCluster(self.address)

        def scorer(prepared: Prepared) -> PointScorer:
            content = content_here(prepared, prepared.folder.contents)
            worker = cluster.worker(Places(1, self.gpus, self.cpus))
            return RemoteScorer(worker, Job(sweep, options, os.getcwd()), content, Patience(self.seconds))

        return scorer


def shares_of_cluster(settings: RaySettings, gpus_per_worker: int, n_workers: int | None) -> list[ClusterShare]:
    """Return a share for each worker that the cluster has room for.

    Args:
        settings: the cluster.
        gpus_per_worker: the GPUs of each worker.
        n_workers: how many workers there are at most; None for as many as have room.

    Raises:
        CalibError: Ray is not installed, the cluster cannot be reached, or it has no room for one worker.
    """
    cluster = RayCluster(settings.address)
    try:
        places = places_for_workers(cluster.nodes, gpus_per_worker, n_workers)
    finally:
        cluster.close()
    return [ClusterShare(settings.address, places.gpus, places.cpus, settings.seconds)] * places.n_workers
