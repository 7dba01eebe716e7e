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

_SCORING_BYTES = 10**9  # batches and logits are divided to stay below


@dataclass(frozen=True)
class Footprint:
    """Peak memory of a sweep, in bytes.

    Attributes:
        device: the device that models are scored on.
        live: the model that is set to each point, on `device`.
        building: what the host needs besides, while the live model is built.
        parents: copies of the parents that stay in memory; memory-mapped files do not count.
        parents_on_device: whether the copies are on `device` (mergekit's `--read-to-gpu`).
        streams: whether the parents are read from their files for each point, instead of kept in memory.
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
    generating: int = 0
    takes_turns: bool = False
    holders: int = 1

    @property
    def on_device(self) -> int:
        """Bytes on the device that scores."""
        models = self.scoring
        models = max(models, self.generating) if self.takes_turns else models + self.generating
        return models + (self._kept if self.parents_on_device or self.device.type == "cpu" else 0)

    @property
    def scoring(self) -> int:
        """Bytes of the model that scores, and of its steps, on the device."""
        return self.live + _SCORING_BYTES + (self.building if self.device.type == "cpu" else 0)

    @property
    def on_host(self) -> int:
        """Bytes in the host's memory."""
        if self.device.type == "cpu":
            return self.on_device
        return self.building + (0 if self.parents_on_device else self._kept)

    @property
    def _kept(self) -> int:
        """Bytes of the parents that stay in memory."""
        return 0 if self.streams else self.parents * self.holders

    @property
    def peak(self) -> str:
        """The peak as people read it: `about 1 GB`, or `about 12.3 GB on cuda:0 and 3.2 GB on the host`."""
        if self.device.type == "cpu":
            return f"about {_rounded_gb(self.on_device)}"
        return f"about {_rounded_gb(self.on_device)} on {self.device} and {_rounded_gb(self.on_host)} on the host"

    def __str__(self) -> str:
        kept = (
            f"copies of the parents {_gb(self.parents * self.holders)}"
            if self.parents
            else "the parents mapped from their files"
        )
        if self.streams:
            kept = "the parents read from their files for each point"
        parts = f"the live model {_gb(self.live)}, {kept}, scoring up to {_gb(_SCORING_BYTES)}"
        if self.generating:
            parts += f", {'then ' if self.takes_turns else ''}vLLM {_gb(self.generating)}"
        if self.building:
            parts += f", and {_gb(self.building)} of the host's at the start"
        if self.device.type == "cpu":
            return f"takes up to {_gb(self.on_device)} of memory: {parts}"
        return (
            f"takes up to {_gb(self.on_device)} on {self.device} and {_gb(self.on_host)} of the host's memory: {parts}"
        )


def footprint(
    models: Iterable[ParentModel],
    dtype: str | None,
    out_dtype: str | None,
    compute_dtype: torch.dtype | None,
    device: torch.device,
    options: MergeOptions,
    growth: float = 1.0,
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
    return Footprint(device, live, building, copies, on_device)


def fitting_footprint(needed: Footprint, free_on_device: int, free_on_host: int) -> Footprint:
    """Return the footprint that fits: `needed`, or else the same with the parents read for each point.

    Args:
        needed: the footprint with all parents in memory.
        free_on_device: bytes that are free on the device that scores.
        free_on_host: bytes that are free on the host.

    Raises:
        CalibError: neither fits; the message has the numbers.
    """
    for candidate in (needed, replace(needed, streams=True)):
        if candidate.on_device <= free_on_device and candidate.on_host <= free_on_host:
            return candidate
    free = f"{_gb(free_on_device)} are free on {needed.device}"
    if needed.device.type != "cpu":
        free += f", {_gb(free_on_host)} on the host"
    raise CalibError(
        f"the sweep {candidate}; {free}. Another `device` or a smaller `dtype` in `model_args`, or smaller "
        "models, would fit"
    )


def free_memory(device: torch.device) -> tuple[int, int]:
    """Return the bytes that are free on `device` and on the host, within the limits of a container or a batch job."""
    host = min([int(psutil.virtual_memory().available), *left_by_control_groups()])
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        return int(torch.cuda.mem_get_info(index)[0]), host
    return host, host


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
