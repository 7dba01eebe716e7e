"""`GeneratingLM`: lm-eval's `hf`, but a prompt that several neighbouring requests share is read once.

It relies on lm-eval 0.4.13: `generate_until` forms batches of `batch_size_per_gpu` and calls `_model_generate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lm_eval.models.utils import normalize_gen_kwargs

from mergekit_calib.prefix_lm import generation
from mergekit_calib.prefix_lm.compatibility import incompatibility, rotary_length_limit
from mergekit_calib.prefix_lm.encoding import EncodingLM


class GeneratingLM(EncodingLM):
    """lm-eval's `hf`, but a prompt that several neighbouring requests share is read once.

    Args:
        *args: as `hf` takes them.
        **kwargs: as `hf` takes them.

    Attributes:
        fallback_reason: why this model scores and generates as `hf` does; None if it shares prompts.
        on_answers: a function that is called with the number of newly answered requests; None for no calls.
    """

    batch_size_per_gpu: int | str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_answers: Callable[[int], None] | None = None
        self._rotary_limit = rotary_length_limit(self.model)
        self.fallback_reason = (
            "its weights are spread over processes" if self.world_size > 1 else incompatibility(self.model)
        )

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Generate texts; a prompt that several neighbouring requests share is read once.

        Args:
            requests: lm-eval's instances, whose `args` are (prompt, options of generation).
            disable_tqdm: whether no progress bar is shown.

        Returns:
            A text for each request, in order.
        """
        if self.fallback_reason is not None or not requests:
            return list(super().generate_until(requests, disable_tqdm))
        longest = max(len(self.tok_encode(text)) for text in {request.args[0] for request in requests})
        options = [normalize_gen_kwargs(request.args[1], self.max_gen_toks) for request in requests]
        n_tokens = generation.max_tokens_per_row(min(longest, self.max_length), options)
        with self._batches_of(generation.max_rows(self.model, n_tokens)):
            return list(super().generate_until(requests, disable_tqdm))

    def _model_generate(self, context: torch.Tensor, max_length: int, stop: list[str], **kwargs: Any) -> torch.Tensor:
        if self.fallback_reason is not None:
            generated: torch.Tensor = super()._model_generate(context, max_length, stop, **kwargs)
        else:
            generated = generation.generate_in_parts(
                self._generate_rows, context, max_length, stop, filler=self.tokenizer.pad_token_id, **kwargs
            )
        answers = generated[:, context.shape[1] :].tolist()
        self.measure(answers, stop, self.end_tokens(kwargs))
        self._report(len(context))
        return generated

    def _generate_rows(self, context: torch.Tensor, max_length: int, stop: list[str], **kwargs: Any) -> torch.Tensor:
        """Generate as `hf` does, from a cache of the prompts if several rows share one."""
        mixed, cache = self.mixed_precision_dtype, {}
        if generation.accepts_filled_cache(self.model, kwargs) and not self._exceeds_rotary_limit(max_length):
            with torch.no_grad(), torch.autocast(self.device.type, mixed, enabled=mixed is not None):
                cache = generation.prompt_cache(self.model, context, kwargs["attention_mask"])
        rows: torch.Tensor = super()._model_generate(context, max_length, stop, **kwargs, **cache)
        return rows

    @contextmanager
    def _batches_of(self, size: int) -> Iterator[None]:
        """Let `hf` form batches of `size` within the `with` block."""
        given, self.batch_size_per_gpu = self.batch_size_per_gpu, size
        try:
            yield
        finally:
            self.batch_size_per_gpu = given

    def _exceeds_rotary_limit(self, n_tokens: int) -> bool:
        """Return whether an input of `n_tokens` gets another rotary embedding than shorter ones."""
        return self._rotary_limit is not None and n_tokens > self._rotary_limit

    def _report(self, n_answers: int) -> None:
        if self.on_answers and n_answers:
            self.on_answers(n_answers)
