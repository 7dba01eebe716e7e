"""lm-eval's options of generation as vLLM's sampling arguments, so that both engines draw from one distribution.

What a request leaves open is what `generate` of transformers takes for it: the model's generation config, then
transformers' defaults (`top_k` 50).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import transformers

from mergekit_calib.errors import CalibError, near_names, shown

# Option → what transformers takes if neither the request nor the model's generation config says anything.
_SAMPLED: dict[str, float] = {"temperature": 1.0, "top_k": 50, "top_p": 1.0, "min_p": 0.0}
_ALWAYS: dict[str, float] = {"repetition_penalty": 1.0, "min_new_tokens": 0}
_NAMES_IN_VLLM = {"min_new_tokens": "min_tokens"}
# Options that vLLM lacks → values that change nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "num_beams": (None, 1),
    "num_return_sequences": (None, 1),
    "no_repeat_ngram_size": (None, 0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "encoder_repetition_penalty": (None, 1.0),
    "typical_p": (None, 1.0),
    "epsilon_cutoff": (None, 0.0),
    "eta_cutoff": (None, 0.0),
    "penalty_alpha": (None, 0.0),
    "guidance_scale": (None, 1.0),
    "bad_words_ids": (None, []),
    "sequence_bias": (None, {}),
    "suppress_tokens": (None, []),
    "begin_suppress_tokens": (None, []),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "exponential_decay_length_penalty": (None,),
    "renormalize_logits": (None, False),
    "min_length": (None, 0),
}
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_OPTIONS = ("do_sample", "until", "use_cache", *_LENGTHS, *_SAMPLED, *_ALWAYS)


def option_problem(options: Mapping[str, Any]) -> str | None:
    """Return why vLLM cannot generate with lm-eval's `generation_kwargs`; None if it can.

    Args:
        options: option → value, as in a task's `generation_kwargs`.
    """
    for name, value in options.items():
        if name in _NEUTRAL and value in _NEUTRAL[name]:
            continue
        if name not in _OPTIONS:
            near, known = near_names(name, _OPTIONS), ", ".join(sorted(_OPTIONS))
            return f"{name} (found {shown(value)}) is not one that vLLM takes{near}; it takes {known}"
    if options.get("do_sample") and float(options.get("temperature", 0.0) or 0.0) <= 0:  # 0 is lm-eval's default
        return "with do_sample: true, temperature must be above 0"
    return None


def check_generation_config(config: transformers.GenerationConfig) -> None:
    """Check that a model's generation config asks for nothing that vLLM lacks.

    Args:
        config: the generation config.

    Raises:
        CalibError: it does.
    """
    for name, neutral in _NEUTRAL.items():
        if (value := getattr(config, name, None)) not in neutral:
            raise CalibError(
                f"generation_config.json has {name}: {shown(value)}, which vLLM does not take; remove it from the "
                "tokenizer's model, or generate with transformers (remove `engine`)"
            )


def sampling_arguments(
    config: transformers.GenerationConfig,
    options: Mapping[str, Any],
    *,
    max_tokens: int,
    stop: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Return vLLM's sampling arguments for one request.

    Args:
        config: the model's generation config.
        options: option → value, as lm-eval's `hf` passes them to `generate`.
        max_tokens: the most tokens of the answer; as in transformers, `max_new_tokens` of the generation config comes
            before it.
        stop: texts that end the answer.
        seed: the seed of its random numbers; not used if it is greedy.

    Raises:
        CalibError: vLLM does not take an option.
    """
    given = {name: value for name, value in options.items() if value is not None}
    sampled = bool(given.get("do_sample", config.do_sample))
    if sampled and (problem := option_problem({"temperature": 1.0, **given})):
        raise CalibError(f"gen_kwargs: {problem}")

    def value(name: str, default: float) -> float:
        of_model = getattr(config, name, None)
        chosen: float = given.get(name, default if of_model is None else of_model)
        return chosen

    arguments: dict[str, Any] = {
        _NAMES_IN_VLLM.get(name, name): value(name, default)
        for name, default in (_SAMPLED | _ALWAYS if sampled else _ALWAYS).items()
    }
    if not sampled:
        arguments["temperature"] = 0.0
    ends = given.get("eos_token_id", config.eos_token_id)
    return arguments | {
        **({"seed": seed} if sampled else {}),
        "max_tokens": config.max_new_tokens or max_tokens,
        "stop": [text for text in stop if text],
        "stop_token_ids": ends if isinstance(ends, list) else [] if ends is None else [ends],
        "ignore_eos": True,  # those above end it, as in transformers
        "skip_special_tokens": False,  # they may be among the texts that end it
        "spaces_between_special_tokens": False,
    }
