"""Devices that torch can compute on here."""

from __future__ import annotations

from typing import Any

import torch

from mergekit_calib.errors import CalibError


def usable_device(name: Any, key: str) -> torch.device:
    """Return a device that this machine has.

    Args:
        name: the device, as torch names it.
        key: where the name was given, for the message.

    Raises:
        CalibError: there is no such device; the message has those that there are.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, TypeError, ImportError):
        accelerators = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        accelerators += ["mps"] if torch.backends.mps.is_available() else []
        raise CalibError(f"{key} is {name!r}; the devices here are {', '.join(['cpu', *accelerators])}") from None
    return device
