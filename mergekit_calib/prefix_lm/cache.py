"""The name of the argument through which a transformers model takes its cache of keys and values."""

from __future__ import annotations

import inspect

import torch


def cache_argument(module: torch.nn.Module) -> str:
    """Return the name of the cache argument of a module's `forward`.

    It is `cache` since transformers 5.24, and `past_key_values` before and in remote code written before.
    """
    return "cache" if "cache" in inspect.signature(type(module).forward).parameters else "past_key_values"
