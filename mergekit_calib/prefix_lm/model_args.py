"""Arguments of lm-eval's `hf` model that apply to a model which is loaded already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mergekit_calib.errors import CalibError, near_names, one_line

MODEL_ARGS = (
    "add_bos_token",
    "chat_template_args",
    "enable_thinking",
    "max_batch_size",
    "max_length",
    "mixed_precision_dtype",
    "prefix_token_id",
    "softmax_dtype",
    "think_end_token",
    "truncation",
)
"""Arguments that change how a loaded model scores or generates."""

PLACEMENT_ARGS = ("device", "device_map", "parallelize", "max_memory_per_gpu")
"""Arguments that say which devices hold the weights; they change no score beyond rounding."""

LOADING_ARGS = ("dtype", *PLACEMENT_ARGS)
"""Arguments that say how weights are loaded; the code that loads the model applies them."""


def without_placement(model_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that scores depend on: all but those in `PLACEMENT_ARGS`."""
    return {name: value for name, value in model_args.items() if name not in PLACEMENT_ARGS}


def check_model_args(model_args: dict[str, Any]) -> None:
    """Raise an error unless every one of `model_args` can be applied.

    Args:
        model_args: names and values, as under `model_args` in a recipe.

    Raises:
        CalibError: an argument cannot be applied; the message names it, and arguments with a similar name.
    """
    possible = (*MODEL_ARGS, *LOADING_ARGS)
    for name in model_args:
        if name not in possible:
            raise CalibError(
                f"model_args.{one_line(name, 60)} cannot be applied to a model that is loaded already"
                f"{near_names(name, possible)}; these can: {', '.join(sorted(possible))}"
            )
