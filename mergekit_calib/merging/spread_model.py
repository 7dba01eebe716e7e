"""The activations of a model that is spread over several GPUs: hooks that move them to where they are used.

accelerate has such hooks too, but replaces the `forward` of every module by them, which keeps `hf-prefix` from
computing the output head in blocks. Hooks of torch do not, and these copy what all layers are given, such as masks
and rotary embeddings, once to each device instead of once to each layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import transformers
from transformers.utils.generic import ModelOutput


def move_part(model: torch.nn.Module, name: str, device: torch.device) -> None:
    """Move a module, or a parameter or buffer of one.

    Args:
        model: the model.
        name: the part's name; "" for all of it.
        device: where to.
    """
    parent_name, _, own = name.rpartition(".")
    parent: Any = model.get_submodule(parent_name)
    part: Any = getattr(parent, own) if own else model
    if isinstance(part, torch.nn.Module):
        part.to(device)
    elif isinstance(part, torch.nn.Parameter):
        part.data = part.data.to(device)
    elif part is not None:
        setattr(parent, own, part.to(device))


def let_activations_follow(model: transformers.PreTrainedModel) -> None:
    """Move what each part of the model is called with to the part's device, and the model's output to its input's.

    Args:
        model: a model whose parts are on their devices.
    """
    copies = _Copies()
    for module, device in _parts(model):
        module.register_forward_pre_hook(
            lambda _, args, kwargs, device=device: (
                _moved(args, lambda tensor: tensor.to(device)),
                _moved(kwargs, lambda tensor: copies.on(device, tensor)),
            ),
            with_kwargs=True,
        )
    body: Any = model.base_model
    body.register_forward_pre_hook(lambda *_: copies.forget())
    body.register_forward_hook(lambda *_: copies.forget(), always_call=True)

    def return_output(_: Any, args: Any, kwargs: Any, output: Any) -> Any:
        given = next((x for x in (*args, *kwargs.values()) if isinstance(x, torch.Tensor)), None)
        if given is None or not isinstance(output, ModelOutput):
            return output
        for key in output:
            output[key] = _moved(output[key], lambda tensor: tensor.to(given.device))
        return output

    model.register_forward_hook(return_output, with_kwargs=True)


def _parts(module: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, torch.device]]:
    """Yield the largest modules that are called and have all of their tensors on one device, with the device."""
    devices = {tensor.device for tensor in (*module.parameters(), *module.buffers())}
    is_called = type(module).forward is not torch.nn.Module.forward
    if len(devices) == 1 and is_called:
        yield module, devices.pop()
    elif devices:
        for child in module.children():
            yield from _parts(child)


class _Copies:
    """Copies, on other devices, of the tensors that all layers of a forward pass are given."""

    def __init__(self) -> None:
        self._copies: dict[tuple[int, torch.device], tuple[torch.Tensor, torch.Tensor]] = {}

    def on(self, device: torch.device, tensor: torch.Tensor) -> torch.Tensor:
        """Return the tensor on a device; the first copy is kept, with the tensor itself, whose id it is found by."""
        if tensor.device == device:
            return tensor
        key = (id(tensor), device)
        if key not in self._copies:
            self._copies[key] = (tensor, tensor.to(device))
        return self._copies[key][1]

    def forget(self) -> None:
        """Forget all copies."""
        self._copies.clear()


def _moved(value: Any, move: Any) -> Any:
    """Return tensors, and tuples, lists and dictionaries of them, moved; anything else, as a cache, as it is."""
    if isinstance(value, torch.Tensor):
        return move(value)
    if type(value) in (tuple, list):
        return type(value)(_moved(each, move) for each in value)
    if type(value) is dict:
        return {key: _moved(each, move) for key, each in value.items()}
    return value
