"""A model with random weights in the shapes of the sweep's models, to measure how fast this machine runs it.

Relies on transformers 5 for `initialization.no_init_weights`, since drawing every weight takes longer than measuring.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers.initialization import no_init_weights

_MOST_NUMBERS = 600_000_000  # filling more takes seconds
_SMALLER_VOCABULARY = 32_768
_BLOCK = 1 << 18


@dataclass(frozen=True)
class RandomModel:
    """A model that has the shapes of another, or fewer of its layers.

    Attributes:
        model: the model, with random weights.
        layers: its number of layers.
        of_layers: the number of layers of the model that it stands for.
    """

    model: transformers.PreTrainedModel
    layers: int
    of_layers: int


def random_model(
    of: transformers.PreTrainedModel, dtype: torch.dtype, device: torch.device, free_bytes: int
) -> RandomModel | None:
    """Return a model with random weights; with fewer layers and tokens if it were large; None if too large.

    Args:
        of: the model that it stands for, on the `meta` device.
        dtype: the dtype that it computes in.
        device: the device that scores.
        free_bytes: memory that is free there; at most half of it is taken.
    """
    most = min(_MOST_NUMBERS, free_bytes // (2 * dtype.itemsize))
    layers = int(of.config.get_text_config(decoder=True).num_hidden_layers)
    for vocabulary in (None, _SMALLER_VOCABULARY):
        kept = layers
        config = _smaller(of.config, kept, vocabulary)
        try:
            if (n_numbers := _n_numbers(type(of), config)) > most and kept > 1:
                one = _n_numbers(type(of), _smaller(of.config, 1, vocabulary))
                each = max(1, (n_numbers - one) // (layers - 1))
                kept = max(1, min(layers, 1 + (most - one) // each))
                config = _smaller(of.config, kept, vocabulary)
                n_numbers = _n_numbers(type(of), config)
            if n_numbers <= most:
                return RandomModel(_filled(type(of), config, dtype, device), kept, layers)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
            continue  # a class that cannot have fewer layers
    return None


def _n_numbers(model_class: Any, config: transformers.PretrainedConfig) -> int:
    """Return how many numbers the weights of a model have."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in model_class._from_config(config).parameters())


def _smaller(config: transformers.PretrainedConfig, layers: int, vocabulary: int | None) -> Any:
    """Return a copy of a config with fewer layers and a smaller vocabulary."""
    smaller = copy.deepcopy(config)
    text = smaller.get_text_config(decoder=True)
    if layers != text.num_hidden_layers:
        text.num_hidden_layers = layers
        for name in ("layer_types", "mlp_layer_types"):
            if isinstance(kinds := getattr(text, name, None), list):
                setattr(text, name, kinds[:layers])
    if vocabulary is not None and vocabulary < text.vocab_size:
        text.vocab_size = vocabulary
        text.pad_token_id = None
    return smaller


def _filled(
    model_class: Any, config: transformers.PretrainedConfig, dtype: torch.dtype, device: torch.device
) -> transformers.PreTrainedModel:
    """Return a model whose weights are one block of random numbers, repeated."""
    with no_init_weights(), torch.device(device):
        model: transformers.PreTrainedModel = model_class._from_config(config, dtype=dtype)
    block = torch.randn(_BLOCK, generator=torch.Generator().manual_seed(0)).mul_(0.02).to(device, dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            for part in torch.split(parameter.view(-1), _BLOCK):
                part.copy_(block[: len(part)])
    model.train(False).requires_grad_(False)
    return model
