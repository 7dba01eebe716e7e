"""What transformers calls the argument that takes a model's keys and values."""

from __future__ import annotations

import inspect

import torch


def cache_argument(module: torch.nn.Module) -> str:
    """`cache` since transformers 5.24, `past_key_values` before it and in a model's own code of that time."""
    return "cache" if "cache" in inspect.signature(type(module).forward).parameters else "past_key_values"
