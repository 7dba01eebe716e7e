"""The memory that a sweep's models take, estimated from file headers before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import psutil
import torch
from mergekit.common import dtype_from_name
from mergekit.options import MergeOptions

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.parents import ParentModel

SCORING_BYTES = 10**9
"""What scoring takes on each device; batches and logits are divided to stay below."""

_PROCESS_BYTES = 5 * 10**8  # of a worker process besides its model: libraries and the suite's requests


@dataclass(frozen=True)
class Footprint:
    """Peak memory of a sweep, in bytes.

    Attributes:
        device: the device that models are scored on.
        live: the model that is set to each point, on `device` and `others` together.
        building: what the host needs besides, while the live model is built.
        parents: copies of the parents that stay in memory; memory-mapped files do not count.
        parents_on_device: whether the copies are on `device` (mergekit's `--read-to-gpu`).
        streams: whether the parents are read from their files for each point, instead of kept in memory.
        workers: how many processes on the host score points, each with a live model and copies of its own. They build
            their models one after another, so `building` counts once.
        others: further devices that the live model is spread over.
        compute_dtype: the dtype of the live model.
        generating: what an engine that only generates takes besides, on `device`: a second copy of the model, keys and
            values, and its processes.
        takes_turns: whether that engine starts when the live model is gone.
        holders: how many processes keep copies of the parents.
    """

    device: torch.device
    live: int
    building: int
    parents: int
    parents_on_device: bool = False
    streams: bool = False
    workers: int = 1
    others: tuple[torch.device, ...] = ()
    compute_dtype: torch.dtype = torch.float32
    generating: int = 0
    takes_turns: bool = False
    holders: int = 1

    @property
    def on_device(self) -> int:
        """Bytes on the device that scores, or on all that the model is spread over; on GPUs, those of one worker."""
        building = self.building if self.device.type == "cpu" else 0
        models = self.live + self._scoring + building
        models = max(models, self.generating) if self.takes_turns else models + self.generating
        if self.device.type == "cpu":
            return self.workers * (models - building + self._kept) + building + self._processes
        return models + (self._kept if self.parents_on_device else 0)

    @property
    def on_host(self) -> int:
        """Bytes in the host's memory."""
        if self.device.type == "cpu":
            return self.on_device
        return self.building + (0 if self.parents_on_device else self.workers * self._kept) + self._processes

    @property
    def _processes(self) -> int:
        """Bytes of worker processes; 0 if the only worker is this process, whose memory is taken already."""
        return self.workers * _PROCESS_BYTES if self.workers > 1 else 0

    @property
    def devices(self) -> str:
        """The devices that score, as people read them."""
        return " and ".join(map(str, (self.device, *self.others)))

    @property
    def _scoring(self) -> int:
        """Bytes that scoring takes besides the model, on all devices."""
        return SCORING_BYTES * (1 + len(self.others))

    @property
    def _kept(self) -> int:
        """Bytes of the parents that stay in memory."""
        return 0 if self.streams else self.parents * self.holders

    @property
    def peak(self) -> str:
        """The peak as people read it: `about 1 GB`, or `about 12.3 GB on cuda:0 and 3.2 GB on the host`."""
        if self.device.type == "cpu":
            return f"about {_rounded_gb(self.on_device)}"
        each = "each " if self.workers > 1 else ""
        return (
            f"about {_rounded_gb(self.on_device)} on {each}{self.devices} and {_rounded_gb(self.on_host)} on the host"
        )

    def __str__(self) -> str:
        kept = (
            f"copies of the parents {_gb(self.parents * self.holders)}"
            if self.parents
            else "the parents mapped from their files"
        )
        if self.streams:
            kept = "the parents read from their files for each point"
        parts = f"the live model {_gb(self.live)}, {kept}, scoring up to {_gb(self._scoring)}"
        if self.generating:
            parts += f", {'then ' if self.takes_turns else ''}vLLM {_gb(self.generating)}"
        if self.workers > 1:
            parts += f", for each of {self.workers} workers, which take {_gb(_PROCESS_BYTES)} besides"
        if self.building:
            parts += f", and {_gb(self.building)} of the host's at the start"
        if self.device.type == "cpu":
            return f"takes up to {_gb(self.on_device)} of memory: {parts}"
        return (
            f"takes up to {_gb(self.on_device)} on {self.devices} and {_gb(self.on_host)} of the host's memory: {parts}"
        )


def footprint(
    models: Iterable[ParentModel],
    dtype: str | None,
    out_dtype: str | None,
    compute_dtype: torch.dtype | None,
    device: torch.device,
    options: MergeOptions,
    growth: float = 1.0,
    others: tuple[torch.device, ...] = (),
) -> Footprint:
    """Return the memory of a sweep that keeps all its models in memory.

    Args:
        models: the models that the recipe names.
        dtype: the recipe's `dtype`, which the parents are read in; None for that of their files.
        out_dtype: the recipe's `out_dtype`, which the merged weights have; None for `dtype`.
        compute_dtype: the dtype that the live model computes in; None for that of the merged weights.
        device: the device that models are scored on.
        options: mergekit's options.
        growth: how many times as large as the largest parent a merged model can be: above 1 if layers are stacked.
        others: further devices that the live model is spread over.
    """
    parents = list(models)
    largest = max(parents, key=n_parameters)
    read = dtype_from_name(dtype)
    merged = dtype_from_name(out_dtype) or read or largest.dtype
    compute = compute_dtype or merged
    live, state = (int(growth * n_parameters(largest)) * each.itemsize for each in (compute, merged))
    building = state if compute != merged else 0
    if device.type != "cpu":
        building = live + building
    on_device = bool(options.read_to_gpu and device.type != "cpu")
    copied = [p for p in parents if on_device or (read or p.dtype) != p.dtype or not p.shapes]
    copies = sum(n_parameters(p) * (read or p.dtype).itemsize for p in copied)
    return Footprint(device, live, building, copies, on_device, others=others, compute_dtype=compute)


def fitting_footprint(needed: Footprint, free_on_device: int | None, free_on_host: int | None) -> Footprint:
    """Return the footprint that fits: `needed`, or else the same with the parents read for each point.

    Args:
        needed: the footprint with all parents in memory.
        free_on_device: bytes that are free on the device that scores; None if another process checks that.
        free_on_host: bytes that are free on the host; None as above.

    Raises:
        CalibError: neither fits; the message has the numbers, and how many workers would fit.
    """

    def fits(candidate: Footprint) -> bool:
        on_device = free_on_device is None or candidate.on_device <= free_on_device
        return on_device and (free_on_host is None or candidate.on_host <= free_on_host)

    for candidate in (needed, replace(needed, streams=True)):
        if fits(candidate):
            return candidate
    free = [] if free_on_device is None else [f"{_gb(free_on_device)} are free on {needed.devices}"]
    if free_on_host is not None and (needed.device.type != "cpu" or not free):
        free.append(f"{_gb(free_on_host)} {'' if free else 'are free '}on the host")
    fewer = next((n for n in range(needed.workers - 1, 0, -1) if fits(replace(candidate, workers=n))), 0)
    remedy = (
        f"{fewer} {'worker' if fewer == 1 else 'workers'} would fit"
        if fewer
        else ("Another `device` or a smaller `dtype` in `model_args`, or smaller models, would fit")
    )
    raise CalibError(f"the sweep {candidate}; {', '.join(free)}. {remedy}")


def free_memory(device: torch.device, others: tuple[torch.device, ...] = ()) -> tuple[int, int]:
    """Return the bytes that are free on devices and on the host, within the limits of a container or a batch job.

    Args:
        device: a device.
        others: further devices, whose free bytes are added to those of `device`.
    """
    host = min([int(psutil.virtual_memory().available), *left_by_control_groups()])
    if device.type == "cuda":
        return sum(map(_free_on_gpu, (device, *others))), host
    return host, host


def rooms_for_weights() -> dict[torch.device, int]:
    """Return GPU → the bytes of weights that it has room for beside scoring, for every visible GPU."""
    gpus = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    return {gpu: max(0, _free_on_gpu(gpu) - SCORING_BYTES) for gpu in gpus}


def _free_on_gpu(device: torch.device) -> int:
    index = torch.cuda.current_device() if device.index is None else device.index
    return int(torch.cuda.mem_get_info(index)[0])


def left_by_control_groups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Return the bytes that each control group (version 2) of this process leaves free; cached files count as free."""
    try:
        lines = own.read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return []
    left = []
    for path in (line.removeprefix("0::/") for line in lines if line.startswith("0::")):
        for folder in (root / path, *(root / parent for parent in Path(path).parents)):
            try:
                limit, used = ((folder / f"memory.{name}").read_text().strip() for name in ("max", "current"))
                statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):  # a group that does not account for memory
                continue
            if limit != "max":
                left.append(max(0, int(limit) - int(used) + int(statistics.get("inactive_file", 0))))
    return left


def n_parameters(model: ParentModel) -> int:
    """Return how many numbers a model's files hold."""
    return sum(map(prod, model.shapes.values())) if model.shapes else model.n_bytes // model.dtype.itemsize


def _rounded_gb(n_bytes: int) -> str:
    return f"{round(n_bytes / 1e9, 1):g} GB"


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB"
