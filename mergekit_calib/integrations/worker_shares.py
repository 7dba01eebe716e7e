"""The share of a machine's GPUs and cores that each worker of a sweep gets, as environment variables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mergekit_calib.errors import CalibError

if TYPE_CHECKING:
    import torch
    from mergekit.options import MergeOptions

    from mergekit_calib.recipe import CalibrationBlock

GPUS = "CUDA_VISIBLE_DEVICES"
ENVIRONMENT_OF_ASKING = {GPUS: "", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""The environment variables of a process that has its points scored on another machine."""


def environments_of_workers(
    block: CalibrationBlock, options: MergeOptions, workers: int | str | None
) -> list[dict[str, str]]:
    """Return the environment variables of each worker that a sweep starts here; none if this process scores itself.

    Args:
        block: the `calibration:` block.
        options: mergekit's options.
        workers: how many, or `auto`; what the block says if None.

    Raises:
        CalibError: as `worker_environments`; or the device does not exist.
    """
    from mergekit_calib.sweep.preflight import scoring_device

    requested = workers or block.workers
    if requested in (None, 1):
        return []
    return worker_environments(requested, block.gpus_per_worker, scoring_device(block.model_args, options))


def worker_environments(requested: int | str, gpus_per_worker: int, device: torch.device) -> list[dict[str, str]]:
    """Return the environment variables of each worker on this machine.

    Args:
        requested: how many workers; `auto` for as many as the visible GPUs serve, and for one without a GPU.
        gpus_per_worker: how many GPUs each worker gets.
        device: the device that models are scored on.

    Raises:
        CalibError: there are too few GPUs, or one of several is named.
    """
    own: list[dict[str, str]]
    if device.type == "cuda":
        own = [{GPUS: share} for share in _shares_of_gpus(requested, gpus_per_worker, device)]
    else:
        own = [{} for _ in range(1 if isinstance(requested, str) else requested)]
        if device.type != "cpu" and len(own) > 1:
            raise CalibError(f"workers: {requested}, but there is one {device.type} device, which serves 1")
    threads = str(max(1, cores() // len(own)))
    return [{"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **share} for share in own]


def _shares_of_gpus(requested: int | str, per_worker: int, device: torch.device) -> list[str]:
    import torch

    if device.index is not None:
        raise CalibError(
            f"the models' device is {device}, but each worker gets GPUs of its own; name the device `cuda`, or set "
            "workers: 1"
        )
    n_gpus = torch.cuda.device_count()
    shares = gpu_shares(os.environ.get(GPUS), n_gpus, per_worker)
    n_workers = len(shares) if isinstance(requested, str) else requested
    if not 1 <= n_workers <= len(shares):
        raise CalibError(
            f"workers: {requested} with gpus_per_worker: {per_worker} needs {max(1, n_workers) * per_worker} GPUs, and "
            f"{n_gpus} are visible; workers: auto takes those that are there"
            if shares
            else f"gpus_per_worker: {per_worker}, but {n_gpus} GPUs are visible; a smaller number would work"
        )
    return shares[:n_workers]


def gpu_shares(visible: str | None, n_gpus: int, per_worker: int) -> list[str]:
    """Return the value of CUDA_VISIBLE_DEVICES for each of as many workers as the GPUs serve.

    Args:
        visible: this process's value: indices or UUIDs, separated by commas; None if it is not set.
        n_gpus: how many GPUs this process sees.
        per_worker: how many each worker gets.
    """
    names = [str(i) for i in range(n_gpus)] if visible is None else [name.strip() for name in visible.split(",")]
    names = names[:n_gpus]  # CUDA takes no entry after one that names no GPU
    n_workers = len(names) // per_worker
    return [",".join(names[i * per_worker : (i + 1) * per_worker]) for i in range(n_workers)]


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
