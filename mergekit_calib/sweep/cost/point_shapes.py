"""The model of a sweep's points without weights, its tokenizer, and its dtype."""

from __future__ import annotations

from collections.abc import Callable

import torch
import transformers
from mergekit.common import dtype_from_name

from mergekit_calib.merging.live_model import empty_model
from mergekit_calib.merging.memory import free_memory, n_parameters
from mergekit_calib.merging.merge_configuration import configuration
from mergekit_calib.merging.plan import Plan
from mergekit_calib.merging.tokenizer import Tokenizer, load_tokenizer
from mergekit_calib.merging.tokenizer_checks import tokenizer_of_points
from mergekit_calib.prefix_lm.generation import CPU_BYTES, rows_within
from mergekit_calib.sweep.cost.gpu_table import Gpu
from mergekit_calib.sweep.prepared import Prepared


def model_of_points(prepared: Prepared, tokenizer: Tokenizer) -> transformers.PreTrainedModel:
    """Return a point's model without weights.

    Args:
        prepared: the sweep.
        tokenizer: the tokenizer of the points; a union has more tokens than the parents' configs say.
    """
    trust = prepared.options.trust_remote_code
    if any(model.reference.lora for model in prepared.models.values()):  # they are merged when the sweep runs
        config = next(iter(prepared.models.values())).config
    else:
        recipe = next(prepared.sweep.corners()).recipe
        config = Plan(configuration(recipe), prepared.options, not prepared.tokenizer.changes_weights).config
    text = config.get_text_config(decoder=True)
    if prepared.tokenizer.changes_weights and len(tokenizer) > text.vocab_size:
        text.vocab_size = len(tokenizer)
    return empty_model(config, trust)


def tokenizer_of(prepared: Prepared) -> Tokenizer:
    """Return the tokenizer of the points; the first parent's, if it is made from LoRAs that are not merged yet."""
    options, add_bos_token = prepared.options, prepared.model_args.get("add_bos_token")
    folder = prepared.tokenizer.folder
    if folder is None and any(model.reference.lora for model in prepared.models.values()):
        folder = next(iter(prepared.models.values())).tokenizer_folder
    if folder is not None:
        return load_tokenizer(folder, options, add_bos_token)
    return tokenizer_of_points(prepared.sweep, prepared.tokenizer, options, prepared.model_args)


def merged_dtype(prepared: Prepared) -> torch.dtype:
    """Return the dtype of the merged weights."""
    recipe = prepared.sweep.recipe
    given = dtype_from_name(recipe.get("out_dtype")) or dtype_from_name(recipe.get("dtype"))
    return given or max(prepared.models.values(), key=n_parameters).dtype


def answers_together(
    prepared: Prepared, model: transformers.PreTrainedModel, dtype: torch.dtype, gpu: Gpu | None
) -> Callable[[int], int]:
    """Return a function of the tokens of an answer and its prompt: how many answers are generated together."""
    memory, free = prepared.memory, CPU_BYTES
    if prepared.device.type == "cuda":
        on_gpu = free_memory(prepared.device)[0] if gpu is None else int(gpu.gigabytes * 1e9)
        free = max(0, on_gpu - memory.live) // 2
    return lambda n_tokens: rows_within(free, model.config, dtype, n_tokens)
