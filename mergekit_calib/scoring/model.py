"""The scorer: lm-eval's `hf` model around a live transformers model, reading logits only where they are needed.

Relied on in lm-eval 0.4.13: `HFLM._loglikelihood_tokens` takes `((context, continuation), context tokens,
continuation tokens)` triples and returns `(log-likelihood, is greedy)` in their order; `_detect_batch_size` tries
batches on `_model_call`.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers
from lm_eval.models.huggingface import HFLM
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from mergekit_calib.errors import CalibError, near_names
from mergekit_calib.scoring.prefixes import Group, Tokens, grouped
from mergekit_calib.scoring.quiet import quiet_lm_eval

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
    """`hf`, with each distinct input run once, what inputs begin with alike run once, and the head only at answers.

    `hf` takes logits and their log-softmax at every position of a batch; with a vocabulary of 262,144 that is most of
    the time and nearly all of the memory. Log-probabilities and greedy flags are the same.

    Attributes:
        on_answers: told how many requests were answered, as they are.
        detected_batch_sizes: (input length, positions read) → the batch size that `auto` found for it.
    """

    chat_template_args: dict[str, Any]

    def __init__(self, model: transformers.PreTrainedModel, **arguments: Any) -> None:
        with quiet_lm_eval(progress_bars=True):
            super().__init__(pretrained=model, **arguments)
        self._can_keep_few = "logits_to_keep" in inspect.signature(type(model).forward).parameters
        self._n_kept: int | None = None
        self._past: transformers.DynamicCache | None = None
        self._can_share = self._can_keep_few and _keeps_keys_and_values(model)
        self.on_answers: Callable[[int], None] | None = None
        self.detected_batch_sizes: dict[tuple[int, int], int] = {}

    def chat_renderer(self, name: bool | str) -> Callable[..., str]:
        """`apply_chat_template` with the template of that name (True: the default), which `hf` itself ignores.

        Raises:
            CalibError: the tokenizer has no such template.
        """
        try:
            template = self.chat_template(name)
        except ValueError as problem:
            raise CalibError(f"apply_chat_template: {problem}") from problem
        if template is None:
            raise CalibError("apply_chat_template: the tokenizer has no chat template")

        def render(chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            own = self.chat_template_args
            self.chat_template_args = {**own, "chat_template": template}
            try:
                return str(self.apply_chat_template(chat_history, add_generation_prompt))
            finally:
                self.chat_template_args = own

        return render

    def _loglikelihood_tokens(
        self, requests: list[TokenRequest], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[Answer]:
        if self.backend != "causal" or not self._can_keep_few or not requests:
            plain: list[Answer] = super()._loglikelihood_tokens(requests, disable_tqdm=True, override_bs=override_bs)
            return plain
        self._check_lengths(requests)
        # Continuations that differ in their last token alone (A, B, C, D) share one input.
        sharing: dict[Tokens, list[int]] = {}
        for i, (_, context, continuation) in enumerate(requests):
            window = (context + continuation)[-(self.max_length + 1) : -1]
            sharing.setdefault(tuple(window), []).append(i)
        inputs = sorted(sharing, key=lambda tokens: (-len(tokens), tokens))
        continuations = {tokens: [requests[i][2] for i in sharing[tokens]] for tokens in inputs}
        rows = self._rows(inputs, continuations, override_bs)
        answers: list[Answer | None] = [None] * len(requests)
        readable_from = {tokens: len(tokens) - max(len(c) for c in continuations[tokens]) for tokens in inputs}
        for group in grouped(inputs, readable_from if self._can_share else dict.fromkeys(inputs, 0), rows):
            found = self._answer(group, [continuations[tokens] for tokens in group.inputs])
            for tokens, some in zip(group.inputs, found, strict=True):
                for i, answer in zip(sharing[tokens], some, strict=True):
                    answers[i] = answer
                    if requests[i][0] is not None:  # windows of a rolling log-likelihood have no text of their own
                        self.cache_hook.add_partial("loglikelihood", requests[i][0], answer)
            self._report(sum(len(some) for some in found))
        return [answer for answer in answers if answer is not None]

    def _check_lengths(self, requests: Sequence[TokenRequest]) -> None:
        for text, _, continuation in requests:
            if not 0 < len(continuation) <= self.max_length:
                shown = repr(text[1]) if text else "a text"
                raise CalibError(
                    f"{shown} is {len(continuation)} tokens to this tokenizer; between 1 and the model's maximum "
                    f"of {self.max_length} can be scored"
                )
        cut = sum(len(context) + len(continuation) > self.max_length + 1 for _, context, continuation in requests)
        if cut:
            warnings.warn(
                f"{cut} of {len(requests)} requests are longer than the model's {self.max_length} tokens; "
                "their beginnings are cut off",
                stacklevel=2,
            )

    def _answer(self, group: Group, continuations: Sequence[Sequence[list[int]]]) -> list[list[Answer]]:
        """The answers to each input's continuations; what the inputs share is run once, and its cache by all.

        Inputs are padded on the right, where causal attention never looks.
        """
        batch = [tokens[group.prefix :] for tokens in group.inputs]
        width = max(len(tokens) for tokens in batch)
        padded = torch.zeros((len(batch), width), dtype=torch.long)
        for row, tokens in enumerate(batch):
            padded[row, : len(tokens)] = torch.tensor(tokens)
        n_kept = _positions_read(batch, continuations)
        self._n_kept = n_kept
        try:
            self._past = self._run_prefix(group.inputs[0][: group.prefix], len(batch)) if group.prefix else None
            logits = self._model_call(padded.to(self.device))
        finally:
            self._n_kept = self._past = None
        found: list[list[Answer]] = []
        for row, tokens in enumerate(batch):
            end = len(tokens) - (width - n_kept)
            longest = max(len(c) for c in continuations[row])
            kept = torch.log_softmax(logits[row, end - longest : end], dim=-1, dtype=self.softmax_dtype)
            best = kept.argmax(dim=-1)
            values = []
            for continuation in continuations[row]:
                target = torch.tensor(continuation, device=kept.device)
                scores = kept[-len(continuation) :].gather(1, target[:, None])
                greedy = (best[-len(continuation) :] == target).all()
                values.append(torch.stack([scores.sum().double(), greedy.double()]))
            # One transfer from the device an input.
            found.append([(score, bool(greedy)) for score, greedy in torch.stack(values).tolist()])
        return found

    def _model_call(
        self, inps: torch.Tensor, attn_mask: torch.Tensor | None = None, labels: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits, (rows, positions, vocabulary), of the last `_n_kept` positions where that is set."""
        if self._n_kept is None:
            return super()._model_call(inps, attn_mask, labels)
        mixed = self.mixed_precision_dtype
        with torch.no_grad(), torch.autocast(self.device.type, mixed, enabled=mixed is not None):
            past = {} if self._past is None else {"past_key_values": self._past, "use_cache": True}
            logits: torch.Tensor = self.model(inps, logits_to_keep=self._n_kept, **past).logits
        return logits

    def _run_prefix(self, prefix: Tokens, n_rows: int) -> transformers.DynamicCache:
        """The keys and values of `prefix`, for `n_rows` inputs that go on from it."""
        mixed = self.mixed_precision_dtype
        tokens = torch.tensor([prefix], device=self.device)
        with torch.no_grad(), torch.autocast(self.device.type, mixed, enabled=mixed is not None):
            cache: transformers.DynamicCache = self.model.base_model(tokens, use_cache=True).past_key_values  # no head
        cache.batch_repeat_interleave(n_rows)
        return cache

    def _model_generate(self, context: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        generated = super()._model_generate(context, *args, **kwargs)
        self._report(len(context))
        return generated

    def _report(self, n_answers: int) -> None:
        if self.on_answers and n_answers:
            self.on_answers(n_answers)

    def _rows(
        self, inputs: Sequence[Tokens], continuations: dict[Tokens, list[list[int]]], override: int | None
    ) -> int:
        """The batch size: as it was given, or the largest that fits, found as lm-eval finds it but on what is read."""
        if self.batch_size != "auto":
            return int(self.batch_size)
        if override is not None:
            return override
        most = self.max_batch_size
        batches = [inputs[i : i + most] for i in range(0, len(inputs), most)]
        n_kept = max(_positions_read(batch, [continuations[tokens] for tokens in batch]) for batch in batches)
        shape = (len(inputs[0]), n_kept)
        if shape not in self.detected_batch_sizes:
            self._n_kept = n_kept
            try:
                self.detected_batch_sizes[shape] = int(self._detect_batch_size([((), list(inputs[0]), [0])]))
            finally:
                self._n_kept = None
        return self.detected_batch_sizes[shape]


def build_lm(
    model: transformers.PreTrainedModel,
    tokenizer: transformers.PreTrainedTokenizerBase,
    *,
    batch_size: int | str = 8,
    model_args: dict[str, Any] | None = None,
) -> LiveHFLM:
    """A scorer for `model`.

    The log-softmax is taken in float32 unless `softmax_dtype` says otherwise: `hf` takes it in the model's own dtype,
    and bfloat16 rounds a log-probability of −10 to the nearest 1/16, which ties choices and blurs confidences.

    Args:
        batch_size: as `hf` takes it; `auto` finds the largest that fits.
        model_args: as `hf` takes them, those in `MODEL_ARGS`.

    Raises:
        CalibError: an argument that `hf` does not have, or that only says how weights are loaded.
    """
    check_model_args(model_args or {})
    given = {k: v for k, v in (model_args or {}).items() if k not in LOADING_ARGS}
    arguments = {"softmax_dtype": "float32", **given}
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


def _keeps_keys_and_values(model: transformers.PreTrainedModel) -> bool:
    """Whether all that the model carries from token to token is attention's keys and values, which rows can share.

    Not so for recurrent and hybrid models, and not known of code that is not transformers' own.
    """
    if not type(model).__module__.startswith("transformers.") or getattr(model, "_is_stateful", False):
        return False
    cache = transformers.DynamicCache(config=model.config.get_text_config(decoder=True))
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers)


def _positions_read(batch: Sequence[Tokens], continuations: Sequence[Sequence[list[int]]]) -> int:
    """How many of a padded batch's last positions hold all of its continuations."""
    width = max(len(tokens) for tokens in batch)
    longest = [max(len(c) for c in some) for some in continuations]
    return width - min(len(tokens) - n for tokens, n in zip(batch, longest, strict=True))
