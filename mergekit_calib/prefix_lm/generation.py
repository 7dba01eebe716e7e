"""Generation for several samples of a prompt: the prompt is read once, and as many rows run together as fit.

Relied on in transformers 5: `generate` goes on from a cache that holds all of its input but the last token.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import transformers
from transformers.cache_utils import DynamicCache

from mergekit_calib.prefix_lm.cache import cache_argument

_CPU_BYTES = 2**31  # of keys and values that generations may take together
_MOST_ROWS = 256


def rows_that_fit(model: transformers.PreTrainedModel, n_tokens: int) -> int:
    """How many sequences of `n_tokens` may be generated together, by the keys and values that they take."""
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    a_row = 2 * config.num_hidden_layers * heads * size * model.dtype.itemsize * n_tokens
    room = torch.cuda.mem_get_info(model.device)[0] // 2 if model.device.type == "cuda" else _CPU_BYTES
    return max(1, min(_MOST_ROWS, room // a_row))


def tokens_of_a_row(n_context: int, options: Sequence[Mapping[str, Any]]) -> int:
    """The most tokens whose keys and values a row may take, after a context of so many; of a beam search, in all beams.

    Args:
        options: of `generate`, as lm-eval normalises them.
    """
    beams = max(int(some.get("num_beams") or 1) for some in options)
    return beams * max(max(n_context + some["max_gen_toks"], some.get("max_length") or 0) for some in options)


def can_go_on(model: transformers.PreTrainedModel, options: Mapping[str, Any]) -> bool:
    """Whether `generate` with these options takes a cache of what was read: a row a sequence, a token at a time."""
    config = copy.deepcopy(model.generation_config)
    for name, value in options.items():
        setattr(config, name, value)
    token_by_token = config.get_generation_mode() in ("greedy_search", "sample")
    own_way = ("cache_implementation", "custom_generate", "num_return_sequences", "prefill_chunk_size")
    return token_by_token and not any(getattr(config, name, None) for name in own_way)


def read_once(model: transformers.PreTrainedModel, context: torch.Tensor, mask: torch.Tensor) -> dict[str, Any]:
    """The cache of `context` but its last token, as an argument of `generate`; none where no two neighbours are alike.

    Args:
        context, mask: (rows, tokens), padded on the left.
    """
    prompts, counts = torch.unique_consecutive(context, dim=0, return_counts=True)
    if len(prompts) == len(context) or context.shape[1] < 2:
        return {}
    its_mask = mask[counts.cumsum(0) - counts, :-1]
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    inputs: dict[str, Any] = {
        "input_ids": prompts[:, :-1],
        "attention_mask": its_mask,
        "position_ids": (its_mask.cumsum(-1) - 1).clamp(min=0),
        cache_argument(model.base_model): cache,
    }
    model.base_model(**inputs, use_cache=True)
    cache.batch_select_indices(torch.repeat_interleave(counts))
    return {cache_argument(model): cache}


def generated_in_parts(
    generate: Callable[..., torch.Tensor],
    context: torch.Tensor,
    max_length: int,
    stop: list[str],
    *,
    attention_mask: torch.Tensor,
    filler: int,
    **kwargs: Any,
) -> torch.Tensor:
    """`generate` of all rows together, or of each split where they do not fit: (rows, tokens).

    Args:
        filler: the token that follows the end of a row that is shorter than others.
    """
    try:
        return generate(context, max_length, stop, attention_mask=attention_mask, **kwargs)
    except torch.cuda.OutOfMemoryError:
        if len(context) == 1:
            raise
    # Outside the handler, whose traceback holds on to the tensors that did not fit.
    torch.cuda.empty_cache()
    splits = [
        generated_in_parts(generate, rows, max_length, stop, attention_mask=its_mask, filler=filler, **kwargs)
        for rows, its_mask in zip(context.chunk(2), attention_mask.chunk(2), strict=True)
    ]
    longest = max(split.shape[1] for split in splits)
    return torch.cat([torch.nn.functional.pad(split, (0, longest - split.shape[1]), value=filler) for split in splits])
