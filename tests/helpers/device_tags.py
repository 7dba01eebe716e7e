"""Pretend devices: real CPU tensors that are tagged with a GPU, and operations that refuse tensors of two devices.

Within `DeviceTags()`, `device="cuda:0"` and `.to("cuda:1")` work without a GPU: the numbers are computed on the CPU,
each storage has a tag, and `tensor.device` reads it. What an operation returns has its operands' tag. As with CUDA,
operands with different tags raise an error, except for CPU tensors of no dimension and CPU tensors that index. So a
tensor that was left on the wrong device fails here as it would on a GPU. What a kernel of torch does inside is not
seen, and kernels that exist on GPUs alone cannot run: models with experts need one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

CPU = torch.device("cpu")
_aten = torch.ops.aten
_COPIES = {_aten.copy_.default, _aten._copy_from.default}
_INDEXING = {
    _aten.index.Tensor,
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._unsafe_index.Tensor,
    _aten._index_put_impl_.default,
}


class WrongDeviceError(RuntimeError):
    """An operation has operands on different devices."""


class DeviceTags:
    """Pretend that there are GPUs, within the `with` block.

    Args:
        count: how many.
        free_bytes: the free memory of each.

    Attributes:
        checked: how many operations had a tagged operand.
    """

    def __init__(self, count: int = 2, free_bytes: int = 2**31) -> None:
        self._facts = {
            "device_count": count,
            "mem_get_info": (free_bytes, free_bytes),
            "get_device_properties": SimpleNamespace(total_memory=free_bytes),
        }
        self._tags: dict[int, tuple[StorageWeakRef, torch.device]] = {}
        self._stack = ExitStack()
        self.checked = 0

    def __enter__(self) -> DeviceTags:
        for name, value in self._facts.items():
            self._stack.enter_context(mock.patch.object(torch.cuda, name, lambda *_, value=value: value))
        self._stack.enter_context(_Functions(self))
        self._stack.enter_context(_Operations(self))
        return self

    def __exit__(self, *problem: object) -> None:
        self._stack.__exit__(*problem)

    def of(self, tensor: torch.Tensor) -> torch.device:
        """Return the device that a tensor is tagged with; the CPU if it has no tag."""
        if tensor.is_meta:
            return torch.device("meta")
        return self._tags.get(tensor.untyped_storage()._cdata, (None, CPU))[1]

    def tag(self, tensor: torch.Tensor, device: torch.device) -> None:
        """Tag the storage of a tensor, and so all of its views."""
        storage = tensor.untyped_storage()
        # The weak reference keeps the address from being used again while it is in the table.
        self._tags[storage._cdata] = (StorageWeakRef(storage), device)

    def moved(self, tensor: torch.Tensor, device: torch.device, copy: bool = False) -> torch.Tensor:
        """Return a tensor on a device, as `Tensor.to` does: itself if it is there and need not be copied."""
        if self.of(tensor) == device and not copy:
            return tensor
        result = tensor.clone()
        self.tag(result, device)
        return result


def _device(given: Any) -> torch.device:
    device = torch.device("cuda", given) if isinstance(given, int) else torch.device(given)
    return torch.device("cuda", 0) if device == torch.device("cuda") else device


class _Functions(TorchFunctionMode):
    """Reads and interprets devices where Python code gives or asks for them."""

    def __init__(self, tags: DeviceTags) -> None:
        super().__init__()
        self._tags = tags
        self._own: dict[Any, Callable[..., Any]] = {
            torch.Tensor.to: self._to,
            torch.Tensor.cuda: lambda x, device=0, **_: tags.moved(x, _device(device)),
            torch.Tensor.cpu: lambda x, **_: tags.moved(x, CPU),
            torch.Tensor.pin_memory: self._pin_memory,
            torch.Tensor.numpy: self._numpy,
            torch.Tensor.__array__: self._numpy,
            torch.Tensor.get_device: lambda x: -1 if tags.of(x) == CPU else tags.of(x).index,
        }
        self._read: dict[Any, Callable[[torch.Tensor], Any]] = {
            torch.Tensor.device: tags.of,
            torch.Tensor.is_cuda: lambda x: tags.of(x).type == "cuda",
            torch.Tensor.is_cpu: lambda x: tags.of(x) == CPU,
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if getattr(func, "__name__", "") == "__get__" and (read := self._read.get(func.__self__)):
            return read(args[0])
        if own := self._own.get(func):
            return own(*args, **kwargs)
        if func is torch._C._nn._parse_to:  # what `Module.to` reads its arguments with
            return func(*args, **kwargs)
        kwargs.pop("pin_memory", None)
        if kwargs.get("device") is None or _device(kwargs["device"]).type not in ("cuda", "cpu"):
            return func(*args, **kwargs)
        device = _device(kwargs["device"])
        kwargs["device"] = CPU  # instead of none, for tensors like one on the device `meta`
        given = {t.untyped_storage()._cdata for t in _tensors((args, kwargs)) if not t.is_meta}

        def placed(tensor: torch.Tensor) -> torch.Tensor:
            if self._tags.of(tensor) == device:
                return tensor
            if tensor.untyped_storage()._cdata in given:
                return self._tags.moved(tensor, device)
            self._tags.tag(tensor, device)
            return tensor

        return tree_map_only(torch.Tensor, placed, func(*args, **kwargs))

    def _to(self, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        copy = kwargs.pop("copy", False)
        if "other" in kwargs or (args and isinstance(args[0], torch.Tensor)):
            other = kwargs.pop("other", None) if "other" in kwargs else args[0]
            device, dtype = self._tags.of(other), other.dtype
        else:
            memory_format = kwargs.get("memory_format")
            device, dtype, _, _ = torch._C._nn._parse_to(*args, **kwargs)
            if memory_format is torch.contiguous_format:
                tensor = tensor.contiguous()
        if device is not None and device.type == "meta":
            return tensor.to("meta", dtype)
        result = tensor if dtype is None else tensor.to(dtype)
        target = self._tags.of(tensor) if device is None else _device(device)
        return self._tags.moved(result, target, copy and result is tensor)

    def _pin_memory(self, tensor: torch.Tensor, *_: Any) -> torch.Tensor:
        if self._tags.of(tensor) != CPU:
            raise WrongDeviceError(f"cannot pin a tensor on {self._tags.of(tensor)}: only CPU tensors can be pinned")
        return tensor.clone()

    def _numpy(self, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if self._tags.of(tensor) != CPU:
            raise TypeError(f"can't convert {self._tags.of(tensor)} device type tensor to numpy")
        return tensor.numpy(**kwargs)


class _Operations(TorchDispatchMode):
    """Checks the operands of every operation, and tags what it returns."""

    def __init__(self, tags: DeviceTags) -> None:
        super().__init__()
        self._tags = tags

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operands = [t for t in _tensors((args, kwargs)) if not t.is_meta]
        device = self._common(func, args, operands)
        result = func(*args, **kwargs)
        if device is not None:
            self._tags.checked += 1
            known = {t.untyped_storage()._cdata for t in operands}
            for tensor in _tensors(result):
                if not tensor.is_meta and tensor.untyped_storage()._cdata not in known:
                    self._tags.tag(tensor, device)
        return result

    def _common(self, func: Any, args: Any, operands: list[torch.Tensor]) -> torch.device | None:
        """Return the device of an operation's operands; None if it is the CPU."""
        if func in _COPIES:
            return None
        if func in _INDEXING:
            on_cpu = {id(index) for index in args[1] if index is not None and self._tags.of(index) == CPU}
            operands = [t for t in operands if id(t) not in on_cpu]
        devices = {self._tags.of(t) for t in operands if t.dim() or self._tags.of(t) != CPU}
        if len(devices) > 1:
            names = " and ".join(sorted(map(str, devices)))
            raise WrongDeviceError(f"Expected all tensors to be on the same device, but {func} has {names}")
        return next((device for device in devices if device != CPU), None)


def _tensors(tree: Any) -> Iterable[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
