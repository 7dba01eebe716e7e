"""Checks of whether a model can run in packed steps: by its class and config, and by a trial."""

from __future__ import annotations

import inspect

import numpy as np
import transformers
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from mergekit_calib.prefix_lm.cache import cache_argument
from mergekit_calib.prefix_lm.packed import FULL, SLIDING, PackedRunner
from mergekit_calib.prefix_lm.prefix_tree import TokenRequests


def incompatibility(model: transformers.PreTrainedModel) -> str | None:
    """Return why a model's class or config rules out packed steps, in a few words; None if neither does.

    Args:
        model: any transformers model.
    """
    name = type(model).__name__
    if not type(model).__module__.startswith("transformers."):
        return f"{name} is not one of transformers' own classes"
    if model.config.is_encoder_decoder:
        return f"{name} is an encoder-decoder"
    parameters = inspect.signature(type(model).forward).parameters
    missing = [p for p in ("logits_to_keep", "position_ids", cache_argument(model)) if p not in parameters]
    if missing:
        return f"{name} has no argument {missing[0]}"
    config = model.config.get_text_config(decoder=True)
    layers = DynamicCache(config=config).layers
    if getattr(model, "_is_stateful", False) or any(
        type(x) not in (DynamicLayer, DynamicSlidingWindowLayer) for x in layers
    ):
        return f"{name} keeps more than keys and values from token to token"
    if set(getattr(config, "layer_types", None) or ()) - {FULL, SLIDING}:
        return f"{name} has attention other than full and sliding"
    if "local" in (getattr(config, "attention_layers", None) or ()):
        return f"{name} has local attention, which is masked by index in the input, not by position"
    if (attention := config._attn_implementation) not in ("sdpa", "eager"):
        return f"its attention implementation, {attention}, does not take a mask"
    return None


def rotary_length_limit(model: transformers.PreTrainedModel) -> int | None:
    """Return the number of tokens beyond which an input gets another rotary embedding; None if there is no such limit.

    The rope types `longrope` and `dynamic` choose their frequencies in each forward pass, by its last position. This
    relies on transformers 5: `rope_parameters` holds the parameters of all layers, or those of each layer type.

    Args:
        model: any transformers model.
    """
    config = model.config.get_text_config(decoder=True)
    given = getattr(config, "rope_parameters", None) or {}
    lengths = [
        rope.get("original_max_position_embeddings") or config.max_position_embeddings
        for rope in (given, *given.values())
        if isinstance(rope, dict) and any(kind in str(rope.get("rope_type")) for kind in ("longrope", "dynamic"))
    ]
    return min(lengths, default=None)


def disagreement_with_plain(runner: PackedRunner, max_length: int) -> str | None:
    """Return how packed steps and ordinary forward passes differ in log-likelihoods; None if they agree.

    The trial runs two sequences that differ near their ends in several steps, beyond a sliding window if it is short.

    Args:
        runner: the model to try.
        max_length: the most tokens of an input.
    """
    windows = [window for window in runner.windows.values() if window is not None and window < 1024]
    n = min(max_length, 64 + max(windows, default=0))
    rng = np.random.default_rng(0)
    tokens = rng.integers(runner.vocab_size, size=n).tolist()
    branch = tokens[: n - n // 4] + rng.integers(runner.vocab_size, size=n // 8).tolist()
    requests = TokenRequests()
    for sequence in (tokens, branch):
        requests.add(sequence[:-3], sequence[-3:], max_length)
    given, runner.limits.step_tokens = runner.limits.step_tokens, n // 3
    try:
        packed = runner.run(requests).log_likelihoods
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as problem:
        return f"packed steps fail on it ({type(problem).__name__}: {problem})"
    finally:
        runner.limits.step_tokens = given
    plain = [runner.plain_log_likelihood(sequence, 3) for sequence in (tokens, branch)]
    tolerance = 1e-4 if runner.is_exact else 0.05  # relative to 1 + |log-likelihood in nats|
    worst = max(abs(a - b) / (1 + abs(b)) for a, b in zip(packed, plain, strict=True))
    if worst <= tolerance:
        return None
    return f"packed steps do not give its log-likelihoods ({packed[0]:.4f}, not {plain[0]:.4f})"
