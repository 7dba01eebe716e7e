"""The scorer: lm-eval's `hf` model around a live transformers model, reading logits only where they are needed.

Relied on in lm-eval 0.4.13: `HFLM._loglikelihood_tokens` takes `((context, continuation), context tokens,
continuation tokens)` triples and returns `(log-likelihood, is greedy)` in their order.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers
from lm_eval.models.huggingface import HFLM

from mergekit_calib.errors import CalibError, near_names

# Arguments of `hf` that mean something for a model that is loaded already.
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
# Arguments of `hf` that say how weights are loaded; whoever loads the model honours these.
LOADING_ARGS = ("dtype", "device")

TokenRequest = tuple[tuple[str, str], list[int], list[int]]
Answer = tuple[float, bool]


class LiveHFLM(HFLM):
    """`hf`, with each distinct input run once and the output head only at the positions that hold answers.

    `hf` takes logits and their log-softmax at every position of a batch; with a vocabulary of 262,144 that is most of
    the time and nearly all of the memory. Log-probabilities and greedy flags are the same.
    """

    def __init__(self, model: transformers.PreTrainedModel, **arguments: Any) -> None:
        super().__init__(pretrained=model, **arguments)
        self._keeps_logits = "logits_to_keep" in inspect.signature(type(model).forward).parameters
        self.on_progress: Callable[[int, int], None] | None = None

    def _loglikelihood_tokens(
        self, requests: list[TokenRequest], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[Answer]:
        if self.backend != "causal" or not self._keeps_logits or not requests:
            return super()._loglikelihood_tokens(requests, disable_tqdm=True, override_bs=override_bs)
        # Continuations that differ in their last token alone (A, B, C, D) share one input.
        sharing: dict[tuple[int, ...], list[int]] = {}
        for i, (_, context, continuation) in enumerate(requests):
            window = (context + continuation)[-(self.max_length + 1) : -1]
            sharing.setdefault(tuple(window), []).append(i)
        inputs = sorted(sharing, key=lambda tokens: (-len(tokens), tokens))
        answers: list[Answer | None] = [None] * len(requests)
        n_done = 0
        batch_size = override_bs or self._rows_of(requests)
        for start in range(0, len(inputs), batch_size):
            batch = inputs[start : start + batch_size]
            for tokens, found in zip(batch, self._answer(batch, sharing, requests), strict=True):
                for i, answer in zip(sharing[tokens], found, strict=True):
                    answers[i] = answer
                    if requests[i][0] is not None:
                        self.cache_hook.add_partial("loglikelihood", requests[i][0], answer)
                n_done += len(found)
            if self.on_progress:
                self.on_progress(n_done, len(requests))
        return [answer for answer in answers if answer is not None]

    @torch.inference_mode()
    def _answer(
        self,
        batch: Sequence[tuple[int, ...]],
        sharing: dict[tuple[int, ...], list[int]],
        requests: Sequence[TokenRequest],
    ) -> list[list[Answer]]:
        """The answers of each input's requests; inputs are padded on the right, where causal attention never looks."""
        width = max(len(tokens) for tokens in batch)
        padded = torch.zeros((len(batch), width), dtype=torch.long)
        for row, tokens in enumerate(batch):
            padded[row, : len(tokens)] = torch.tensor(tokens)
        continuations = [[requests[i][2] for i in sharing[tokens]] for tokens in batch]
        longest = [max(len(c) for c in row) for row in continuations]
        first = min(len(tokens) - n for tokens, n in zip(batch, longest, strict=True))
        with torch.autocast(self.device.type, self.mixed_precision_dtype, self.mixed_precision_dtype is not None):
            logits = self.model(padded.to(self.device, non_blocking=True), logits_to_keep=width - first).logits
        found: list[list[Answer]] = []
        for row, tokens in enumerate(batch):
            end = len(tokens) - first
            kept = torch.log_softmax(logits[row, end - longest[row] : end], dim=-1, dtype=self.softmax_dtype)
            best = kept.argmax(dim=-1)
            values = []
            for continuation in continuations[row]:
                target = torch.tensor(continuation, device=kept.device)
                scores = kept[-len(continuation) :].gather(1, target[:, None])
                values.append(
                    torch.stack([scores.sum().double(), (best[-len(continuation) :] == target).all().double()])
                )
            found.append([(score, bool(greedy)) for score, greedy in torch.stack(values).tolist()])
        return found

    def _rows_of(self, requests: list[TokenRequest]) -> int:
        """The batch size: as it was given, or lm-eval's own detection on the longest request."""
        if self.batch_size != "auto":
            return int(self.batch_size)
        by_length = sorted(requests, key=lambda r: -len(r[1] + r[2]))
        return int(self._detect_batch_size(by_length, 0))


def build_lm(
    model: transformers.PreTrainedModel,
    tokenizer: transformers.PreTrainedTokenizerBase,
    *,
    batch_size: int | str = 8,
    model_args: dict[str, Any] | None = None,
) -> LiveHFLM:
    """A scorer for `model`.

    Args:
        batch_size: as `hf` takes it; `auto` finds the largest that fits.
        model_args: as `hf` takes them, those in `MODEL_ARGS`.

    Raises:
        CalibError: an argument that `hf` does not have, or that only says how weights are loaded.
    """
    check_model_args(model_args or {})
    arguments = {k: v for k, v in (model_args or {}).items() if k not in LOADING_ARGS}
    return LiveHFLM(model, tokenizer=tokenizer, batch_size=batch_size, **arguments)


def check_model_args(model_args: dict[str, Any]) -> None:
    """That every one of `model_args` can be honoured.

    Raises:
        CalibError: naming the one that cannot.
    """
    for name in model_args:
        if name not in (*MODEL_ARGS, *LOADING_ARGS):
            near = near_names(name, (*MODEL_ARGS, *LOADING_ARGS))
            known = ", ".join(sorted((*MODEL_ARGS, *LOADING_ARGS)))
            raise CalibError(f"model_args.{name} is not one that a live model can take{near}; it takes {known}")
