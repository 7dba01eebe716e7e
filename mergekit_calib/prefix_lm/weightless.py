"""lm-eval's `hf` for a model that has shapes and no weights: it tokenises requests, and answers none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import transformers

from mergekit_calib.prefix_lm.generating import GeneratingLM
from mergekit_calib.prefix_lm.model_args import LOADING_ARGS, check_model_args
from mergekit_calib.prefix_lm.silence import silence_lm_eval


def weightless_lm(
    model: transformers.PreTrainedModel,
    tokenizer: transformers.PreTrainedTokenizerBase,
    model_args: Mapping[str, Any],
) -> GeneratingLM:
    """Return the scorer of a model on the `meta` device, to tokenise requests as they will be scored.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        model_args: arguments of lm-eval's `hf`.

    Raises:
        CalibError: an argument that cannot be applied to a loaded model.
    """
    check_model_args(dict(model_args))
    given = {name: value for name, value in model_args.items() if name not in LOADING_ARGS}
    with silence_lm_eval(keep_progress_bars=True):
        return GeneratingLM(model, tokenizer=tokenizer, **given)
