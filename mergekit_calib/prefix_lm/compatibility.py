"""Which models can be run in packed steps: by what they are, and by trying."""

from __future__ import annotations

import inspect

import numpy as np
import transformers
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from mergekit_calib.prefix_lm.cache import cache_argument
from mergekit_calib.prefix_lm.packed import FULL, SLIDING, PackedRunner
from mergekit_calib.prefix_lm.prefix_tree import Requests


def why_not(model: transformers.PreTrainedModel) -> str | None:
    """Why steps of this model cannot share a cache, in a few words; None where they can."""
    name = type(model).__name__
    if not type(model).__module__.startswith("transformers."):
        return f"{name} is not transformers' own code"
    if model.config.is_encoder_decoder:
        return f"{name} is an encoder-decoder"
    parameters = inspect.signature(type(model).forward).parameters
    lacking = [p for p in ("logits_to_keep", "position_ids", cache_argument(model)) if p not in parameters]
    if lacking:
        return f"{name} takes no {lacking[0]}"
    config = model.config.get_text_config(decoder=True)
    layers = DynamicCache(config=config).layers
    if getattr(model, "_is_stateful", False) or any(
        type(x) not in (DynamicLayer, DynamicSlidingWindowLayer) for x in layers
    ):
        return f"{name} carries more than keys and values from token to token"
    if set(getattr(config, "layer_types", None) or ()) - {FULL, SLIDING}:
        return f"{name} has attention other than full and sliding"
    if "local" in (getattr(config, "attention_layers", None) or ()):
        return f"{name} has local attention, by places in a sequence"
    if (attention := config._attn_implementation) not in ("sdpa", "eager"):
        return f"attention is {attention}, which takes no mask of ours"
    return None


def same_rotation_up_to(model: transformers.PreTrainedModel) -> int | None:
    """How long inputs can be for all to get the same rotary embedding; None where the length does not matter.

    `longrope` and `dynamic` choose their frequencies in each forward pass, by the furthest position in it. Relied on in
    transformers 5: `rope_parameters`, of all layers or by layer type.
    """
    config = model.config.get_text_config(decoder=True)
    given = getattr(config, "rope_parameters", None) or {}
    lengths = [
        rope.get("original_max_position_embeddings") or config.max_position_embeddings
        for rope in (given, *given.values())
        if isinstance(rope, dict) and any(kind in str(rope.get("rope_type")) for kind in ("longrope", "dynamic"))
    ]
    return min(lengths, default=None)


def differs_from_plain(runner: PackedRunner, max_length: int) -> str | None:
    """How steps of this model give other log-probabilities than plain forward passes; None where they agree.

    Two sequences that part ways near their ends, run in pieces that go beyond a sliding window.
    """
    windows = [window for window in runner.windows.values() if window is not None and window < 1024]
    n = min(max_length, 64 + max(windows, default=0))
    draw = np.random.default_rng(0)
    tokens = draw.integers(runner.vocab_size, size=n).tolist()
    branch = tokens[: n - n // 4] + draw.integers(runner.vocab_size, size=n // 8).tolist()
    requests = Requests()
    for sequence in (tokens, branch):
        requests.add(sequence[:-3], sequence[-3:], max_length)
    whole, runner.sizes.step_tokens = runner.sizes.step_tokens, n // 3
    try:
        packed = runner.run(requests).log_likelihoods
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as problem:
        return f"packed steps fail on it ({type(problem).__name__}: {problem})"
    finally:
        runner.sizes.step_tokens = whole
    plain = [runner.plain(sequence, 3) for sequence in (tokens, branch)]
    close = 1e-4 if runner.is_exact else 0.05
    worst = max(abs(a - b) / (1 + abs(b)) for a, b in zip(packed, plain, strict=True))
    if worst <= close:
        return None
    return f"packed steps do not give its log-probabilities ({packed[0]:.4f} for {plain[0]:.4f})"
