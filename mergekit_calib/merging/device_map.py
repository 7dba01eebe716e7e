"""Which parts of a model lie on which GPU: what `model_args` ask for, resolved by accelerate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from accelerate.utils import (
    check_device_map,
    compute_module_sizes,
    convert_file_size_to_int,
    get_balanced_memory,
    infer_auto_device_map,
)

from mergekit_calib.errors import CalibError, near_names
from mergekit_calib.merging.spread_model import let_activations_follow, move_part

STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")
_KEY = "model_args.device_map"
_OFF_THE_GPUS = ("cpu", "disk", "meta")  # refused with the numbers, once the model is known


@dataclass(frozen=True)
class DeviceMap:
    """A wish for where the parts of a model lie.

    Attributes:
        wish: one of `STRATEGIES`, or module → device, as transformers' `device_map`.
        budgets: GPU → the bytes of weights that it has room for.
    """

    wish: str | Mapping[str, Any]
    budgets: Mapping[torch.device, int]

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """The devices, the first one first."""
        if isinstance(self.wish, str):
            return tuple(self.budgets)
        gpus = [as_device(given) for given in self.wish.values() if given not in _OFF_THE_GPUS]
        return tuple(dict.fromkeys(gpus)) or (torch.device("cpu"),)

    def resolved(
        self, model: transformers.PreTrainedModel, dtype: torch.dtype | None = None
    ) -> dict[str, torch.device]:
        """Return module → device for the whole of a model.

        Args:
            model: the model, which may be one without numbers.
            dtype: the dtype of its weights; None for the model's own.

        Raises:
            CalibError: a part fits on no GPU, or the map leaves a part out or names one that is not there.
        """
        if isinstance(self.wish, str):
            placed = self._inferred(model, dtype)
        else:
            placed = dict(self.wish)
            _check_modules(model, placed)
        left_over = [name for name, device in placed.items() if str(device) in _OFF_THE_GPUS]
        if left_over:
            raise CalibError(self._refusal(model, left_over, dtype))
        return {name: as_device(device) for name, device in placed.items()}

    def _inferred(self, model: transformers.PreTrainedModel, dtype: torch.dtype | None) -> dict[str, Any]:
        whole = sorted(set(getattr(model, "_no_split_modules", None) or ()))
        rooms: dict[Any, Any] = {device.index: room for device, room in self.budgets.items()}
        if self.wish != "sequential":
            low_zero = self.wish == "balanced_low_0"
            rooms = get_balanced_memory(
                model, dict(rooms), no_split_module_classes=whole, dtype=dtype, low_zero=low_zero
            )
            # On the GPUs alone: accelerate would add the CPU, and give the last one more than it has.
            rooms = {device.index: min(room, rooms[device.index]) for device, room in self.budgets.items()}
        placed: dict[str, Any] = infer_auto_device_map(model, rooms, no_split_module_classes=whole, dtype=dtype)
        return placed

    def _refusal(self, model: transformers.PreTrainedModel, names: list[str], dtype: torch.dtype | None) -> str:
        sizes = compute_module_sizes(model, dtype=dtype)
        rooms = ", ".join(f"{device} {_gb(room)}" for device, room in self.budgets.items())
        return (
            f"{_KEY}: the model has {_gb(sizes[''])} of weights, and {_gb(sum(sizes[name] for name in names))} of them "
            f"({names[0]} and on) would lie on the CPU or a disk, which is not supported. Room for weights: {rooms}. "
            "A smaller `dtype` in `model_args`, more GPUs or a larger `max_memory_per_gpu` would fit"
        )

    def place(self, model: transformers.PreTrainedModel) -> transformers.PreTrainedModel:
        """Move the parts of a model to their devices, and let its activations follow.

        Raises:
            CalibError: as `resolved`.
        """
        placed = self.resolved(model)
        # The parts of a part come after it, and what is tied to another part stays with the first of the two.
        for name in sorted(placed, key=lambda name: name.count(".") + bool(name)):
            move_part(model, name, placed[name])
        for name in reversed(list(placed)):
            if not any(other != name and other.startswith(f"{name}." if name else "") for other in placed):
                move_part(model, name, placed[name])
        let_activations_follow(model)
        return model


def device_map_of(model_args: Mapping[str, Any], rooms: Mapping[torch.device, int]) -> DeviceMap | None:
    """Return the map that `model_args` ask for; None if they ask for none, or if there is one GPU or none to use.

    Args:
        model_args: arguments of lm-eval's `hf`: `device_map`; `parallelize`, the same as `device_map: auto`;
            `max_memory_per_gpu`, in bytes or as "10GiB".
        rooms: GPU → the bytes of weights that it has room for.

    Raises:
        CalibError: a value that cannot be used.
    """
    wish, parallelize = model_args.get("device_map"), model_args.get("parallelize")
    limit = model_args.get("max_memory_per_gpu")
    if parallelize not in (None, True, False):
        raise CalibError(f"model_args.parallelize is {parallelize!r}; true or false is needed")
    wish = "auto" if wish is None and parallelize else wish
    if wish is None:
        if limit is not None:
            raise CalibError("model_args.max_memory_per_gpu needs `device_map: auto`, or lm-eval's `parallelize: true`")
        return None
    if model_args.get("device") is not None:
        raise CalibError(
            f"model_args has both device and {'device_map' if not parallelize else 'parallelize'}; keep one"
        )
    if isinstance(wish, str) and wish not in STRATEGIES:
        near = near_names(wish, STRATEGIES)
        raise CalibError(f"{_KEY} is {wish!r}{near}; it is one of {', '.join(STRATEGIES)}, or module → device")
    if not isinstance(wish, str | Mapping) or not wish:
        raise CalibError(f"{_KEY} is {wish!r}; it is one of {', '.join(STRATEGIES)}, or module → device")
    if isinstance(wish, Mapping):
        for name, given in wish.items():
            _check_device(name, given, rooms)
        return DeviceMap(dict(wish), rooms)
    if limit is not None:
        rooms = {device: min(room, _n_bytes(limit)) for device, room in rooms.items()}
    elif len(rooms) == 1:
        return None
    return DeviceMap(wish, rooms) if rooms else None


def as_device(given: Any) -> torch.device:
    """Return the device that a value of a device map names: a number is that of a GPU."""
    device = torch.device("cuda", given) if isinstance(given, int) else torch.device(given)
    return torch.device("cuda", 0) if device == torch.device("cuda") else device


def _check_device(name: str, given: Any, rooms: Mapping[torch.device, int]) -> None:
    here = ", ".join(map(str, rooms)) or "none"
    if given in _OFF_THE_GPUS:
        return
    try:
        found = as_device(given) in rooms
    except (RuntimeError, TypeError):
        found = False
    if not found:
        raise CalibError(f"{_KEY}.{name or repr(name)} is {given!r}; the GPUs here: {here}")


def _n_bytes(limit: Any) -> int:
    try:
        return int(convert_file_size_to_int(limit))
    except (ValueError, TypeError):
        raise CalibError(
            f"model_args.max_memory_per_gpu is {limit!r}; a number of bytes, or as 10GiB, is needed"
        ) from None


def _check_modules(model: transformers.PreTrainedModel, placed: Mapping[str, Any]) -> None:
    names = dict(model.named_modules()) | dict(model.named_parameters()) | dict(model.named_buffers())
    for name in placed:
        if name not in names:
            raise CalibError(f"{_KEY}: the model has no module {name!r}{near_names(name, names)}")
    try:
        check_device_map(model, dict(placed))
    except ValueError as problem:
        raise CalibError(f"{_KEY} leaves out a part of the model: {problem}") from problem


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB"
