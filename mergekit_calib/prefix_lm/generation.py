"""Generation of several samples of a prompt: each prompt is read once, and as many rows as fit in memory run together.

It relies on transformers 5: `generate` continues from a cache that holds all of its input but the last token.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import transformers
from transformers.cache_utils import DynamicCache

from mergekit_calib.prefix_lm.cache import cache_argument

CPU_BYTES = 2**31
"""Memory of keys and values on a CPU, for all sequences that are generated together."""

_MAX_ROWS = 256


def max_rows(model: transformers.PreTrainedModel, n_tokens: int) -> int:
    """Return how many sequences can be generated together, given the memory of their keys and values.

    Args:
        model: the model that generates.
        n_tokens: tokens of a sequence, prompt and answer.

    Returns:
        Between 1 and 256: as many as half of a GPU's free memory holds (of the fullest one, if there are several), or
        2 GiB elsewhere.
    """
    gpus = {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}
    free_bytes = min((torch.cuda.mem_get_info(gpu)[0] // 2 for gpu in gpus), default=CPU_BYTES)
    return rows_within(free_bytes, model.config, model.dtype, n_tokens)


def rows_within(free_bytes: int, config: transformers.PretrainedConfig, dtype: torch.dtype, n_tokens: int) -> int:
    """Return how many sequences' keys and values fit into some memory; between 1 and 256.

    Args:
        free_bytes: the memory for keys and values.
        config: the model's config.
        dtype: the dtype of keys and values.
        n_tokens: tokens of a sequence, prompt and answer.
    """
    config = config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    row_bytes = 2 * config.num_hidden_layers * heads * size * dtype.itemsize * n_tokens
    return max(1, min(_MAX_ROWS, int(free_bytes // row_bytes)))


def max_tokens_per_row(n_context: int, options: Sequence[Mapping[str, Any]]) -> int:
    """Return the most tokens whose keys and values one row may need, all beams of a beam search together.

    Args:
        n_context: tokens of the longest context.
        options: options of `generate` for each request, as lm-eval normalises them.
    """
    beams = max(int(given.get("num_beams") or 1) for given in options)
    tokens = max(max(n_context + int(given["max_gen_toks"]), int(given.get("max_length") or 0)) for given in options)
    return beams * tokens


def accepts_filled_cache(model: transformers.PreTrainedModel, options: Mapping[str, Any]) -> bool:
    """Return whether `generate` can continue from a filled cache: if each row yields one sequence, token by token.

    Args:
        model: the model that generates.
        options: options of `generate`.
    """
    config = copy.deepcopy(model.generation_config)
    for name, value in options.items():
        setattr(config, name, value)
    token_by_token = config.get_generation_mode() in ("greedy_search", "sample")
    incompatible = ("cache_implementation", "custom_generate", "num_return_sequences", "prefill_chunk_size")
    return token_by_token and not any(getattr(config, name, None) for name in incompatible)


def prompt_cache(model: transformers.PreTrainedModel, context: torch.Tensor, mask: torch.Tensor) -> dict[str, Any]:
    """Read each prompt once, and return its cache as a keyword argument of `generate`.

    Args:
        model: the model that generates.
        context: (rows, tokens) token ids, padded on the left.
        mask: (rows, tokens) 1 at tokens, 0 at padding.

    Returns:
        The cache of all but the last token of each row; empty if no two neighbouring rows are equal, so that nothing
        would be saved.
    """
    prompts, counts = torch.unique_consecutive(context, dim=0, return_counts=True)
    if len(prompts) == len(context) or context.shape[1] < 2:
        return {}
    prompt_mask = mask[counts.cumsum(0) - counts, :-1]
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    inputs: dict[str, Any] = {
        "input_ids": prompts[:, :-1],
        "attention_mask": prompt_mask,
        "position_ids": (prompt_mask.cumsum(-1) - 1).clamp(min=0),
        cache_argument(model.base_model): cache,
    }
    model.base_model(**inputs, use_cache=True)
    cache.batch_select_indices(torch.repeat_interleave(counts).cpu())  # layers may be on several devices
    return {cache_argument(model): cache}


def generate_in_parts(
    generate: Callable[..., torch.Tensor],
    context: torch.Tensor,
    max_length: int,
    stop: list[str],
    *,
    attention_mask: torch.Tensor,
    filler: int,
    **kwargs: Any,
) -> torch.Tensor:
    """Generate for all rows together, or for half of them at a time when the GPU runs out of memory.

    Args:
        generate: generates for some rows; it takes the arguments below.
        context: (rows, tokens) token ids, padded on the left.
        max_length: the most tokens of a row.
        stop: texts at which generation ends.
        attention_mask: (rows, tokens) 1 at tokens, 0 at padding.
        filler: the token that fills up rows which end before others.
        **kwargs: other arguments of `generate`.

    Returns:
        (rows, longest row) token ids, contexts included.

    Raises:
        torch.cuda.OutOfMemoryError: a single row does not fit.
    """
    try:
        return generate(context, max_length, stop, attention_mask=attention_mask, **kwargs)
    except torch.cuda.OutOfMemoryError:
        if len(context) == 1:
            raise
    # Outside the handler, whose traceback keeps the tensors that did not fit alive.
    torch.cuda.empty_cache()
    parts = [
        generate_in_parts(generate, rows, max_length, stop, attention_mask=row_mask, filler=filler, **kwargs)
        for rows, row_mask in zip(context.chunk(2), attention_mask.chunk(2), strict=True)
    ]
    longest = max(part.shape[1] for part in parts)
    return torch.cat([torch.nn.functional.pad(part, (0, longest - part.shape[1]), value=filler) for part in parts])
