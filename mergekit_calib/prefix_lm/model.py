"""`PrefixLM`, the lm-eval model `hf-prefix`: lm-eval's `hf`, but tokens that requests share are run once.

It relies on lm-eval 0.4.13: `LM.loglikelihood` tokenises with `tok_encode` and passes ((context, continuation),
context tokens, continuation tokens) to `_loglikelihood_tokens`, which returns (log-likelihood, is greedy) in the same
order; `loglikelihood_rolling` passes it windows in batches of `batch_size`; `generate_until` calls `_model_generate`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import _add_special_kwargs, has_bos_prefix, normalize_gen_kwargs

from mergekit_calib.errors import CalibError
from mergekit_calib.prefix_lm import generation
from mergekit_calib.prefix_lm.batch_limits import BatchLimits
from mergekit_calib.prefix_lm.compatibility import disagreement_with_plain, incompatibility, rotary_length_limit
from mergekit_calib.prefix_lm.dtype_speed import SLOWDOWN_THRESHOLD, slowdown_against_float32
from mergekit_calib.prefix_lm.model_args import LOADING_ARGS, check_model_args
from mergekit_calib.prefix_lm.packed import PackedRunner
from mergekit_calib.prefix_lm.prefix_tree import TokenRequests
from mergekit_calib.prefix_lm.shared_trees import ModelKind, SharedPrefixTrees, TokenizerOptions
from mergekit_calib.prefix_lm.silence import silence_lm_eval

EncodedRequest = tuple[tuple[str, str], list[int], list[int]]
"""(Context, continuation) as text, tokens of the context, tokens of the continuation."""

Answer = tuple[float, bool]
"""The log-likelihood of a continuation in nats, and whether greedy decoding would give it."""

_TOKENISED_TOGETHER = 1000  # requests
_ALL_WINDOWS = 2**31  # a batch size that no number of windows exceeds


class PrefixLM(HFLM):  # type: ignore[misc]
    """The lm-eval model `hf-prefix`.

    It takes every argument of `hf`, with two differences. `softmax_dtype` is float32 unless it is given: `hf` takes
    the log-softmax in the model's own dtype, and bfloat16 rounds a log-probability of −10 to the nearest 1/16, which
    ties choices and blurs confidences. `batch_size` is not needed: steps are packed by tokens and memory. A model that
    cannot run in packed steps is scored as `hf` scores it, with a warning that says why.

    Example:
        >>> lm = PrefixLM("Qwen/Qwen3-0.6B-Base", dtype="float32")  # doctest: +SKIP
        >>> lm_eval.simple_evaluate(model=lm, tasks=["arc_easy"])  # doctest: +SKIP

    Args:
        pretrained: a model's name, folder or object, as `hf` takes it.
        softmax_dtype: dtype of the log-softmax; None for the model's own.
        prefix_trees: what it shares with the scorers of other models; None to share nothing.
        **arguments: other arguments of `hf`.

    Attributes:
        fallback_reason: why this model is scored as `hf` scores it; None if it runs in packed steps.
        on_answers: a function that is called with the number of newly answered requests; None for no calls.
    """

    chat_template_args: dict[str, Any]
    batch_size_per_gpu: int | str

    def __init__(
        self,
        pretrained: str | transformers.PreTrainedModel,
        *,
        softmax_dtype: str | torch.dtype | None = "float32",
        prefix_trees: SharedPrefixTrees | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(pretrained, softmax_dtype=softmax_dtype, **arguments)
        self.on_answers: Callable[[int], None] | None = None
        self._prefix_trees = prefix_trees or SharedPrefixTrees()
        self._collected: TokenRequests | None = None
        self._encoded: dict[str, list[int]] = {}
        self._rotary_limit = rotary_length_limit(self.model)
        self.fallback_reason = (
            "its weights are spread over processes" if self.world_size > 1 else incompatibility(self.model)
        )
        self._runner: PackedRunner | None = None
        if self.fallback_reason is None:
            kind = (type(self.model).__name__, str(self.model.dtype))
            self._runner = PackedRunner(
                self.model,
                self.softmax_dtype or self.model.dtype,
                self.mixed_precision_dtype,
                self._prefix_trees.limits.get(kind),
            )
            self._prefix_trees.limits[kind] = self._runner.limits
            self._check_against_plain(kind)
        if self.fallback_reason is not None:
            warnings.warn(f"scored as lm-eval's `hf` model does, because {self.fallback_reason}", stacklevel=2)
        dtype = self.model.dtype
        on_cpu = self.device.type == "cpu" and self.mixed_precision_dtype is None
        if on_cpu and (slowdown := slowdown_against_float32(dtype)) > SLOWDOWN_THRESHOLD:
            name = str(dtype).removeprefix("torch.")
            warnings.warn(
                f"this CPU is {slowdown:.0f} times as slow in {name} as in float32: `dtype: float32` in `model_args` "
                "scores the same weights faster, and more exactly",
                stacklevel=2,
            )

    @property
    def batch_limits(self) -> BatchLimits | None:
        """How much is computed at once, which may be changed; None for a model that does not run in packed steps."""
        return self._runner.limits if self._runner is not None else None

    def _check_against_plain(self, kind: ModelKind) -> None:
        """Compare packed steps with ordinary forward passes, once for each kind of model."""
        if self._runner is None or kind in self._prefix_trees.checked:
            return
        if problem := disagreement_with_plain(self._runner, self.max_length):
            self._runner, self.fallback_reason = None, problem
        else:
            self._prefix_trees.checked.add(kind)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Answer]:
        """Score continuations.

        Args:
            requests: lm-eval's instances, whose `args` are (context, continuation).
            disable_tqdm: whether `hf` shows no progress bar, if it does the scoring.

        Returns:
            An answer for each request, in order.

        Raises:
            CalibError: a continuation has no tokens or too many, or a context has none.
        """
        if self._runner is None or not requests:
            plain: list[Answer] = super().loglikelihood(requests, disable_tqdm)
            return plain
        texts = tuple(request.args for request in requests)
        options = TokenizerOptions(self.max_length, self.add_bos_token, self.prefix_token_id)
        tokenized = self._prefix_trees.requests(texts, self.tokenizer, options, lambda: self.tokenize(requests))
        if self._exceeds_rotary_limit(tokenized.longest):
            with self._as_hf(tokenized.longest):
                return list(super().loglikelihood(requests, disable_tqdm))
        return self._answer(tokenized, texts)

    def _exceeds_rotary_limit(self, n_tokens: int) -> bool:
        """Return whether an input of `n_tokens` gets another rotary embedding than shorter ones."""
        return self._rotary_limit is not None and n_tokens > self._rotary_limit

    @contextmanager
    def _as_hf(self, n_tokens: int) -> Iterator[None]:
        """Score as `hf` does within the `with` block, and warn that inputs of up to `n_tokens` are the reason."""
        warnings.warn(
            f"inputs of up to {n_tokens} tokens are scored as lm-eval's `hf` model does, because the model uses "
            f"another rotary embedding beyond {self._rotary_limit} tokens",
            stacklevel=3,
        )
        runner, self._runner = self._runner, None
        try:
            yield
        finally:
            self._runner = runner

    def tokenize(self, requests: Sequence[Any]) -> TokenRequests:
        """Return tokenised requests, each split into context and continuation by lm-eval.

        Args:
            requests: lm-eval's instances, whose `args` are (context, continuation).
        """
        self._collected = collected = TokenRequests()
        try:
            for start in range(0, len(requests), _TOKENISED_TOGETHER):
                batch = list(requests[start : start + _TOKENISED_TOGETHER])
                self._encode_ahead(batch)
                super().loglikelihood(batch, disable_tqdm=True)
        finally:
            self._collected, self._encoded = None, {}
        if collected.n_cut:
            warnings.warn(
                f"{collected.n_cut} of {len(collected)} requests are longer than the model's {self.max_length} tokens; "
                "their beginnings are cut off",
                stacklevel=2,
            )
        return collected

    def _encode_ahead(self, requests: Sequence[Any]) -> None:
        """Encode at once the texts that lm-eval will ask `tok_encode` for one by one; that then looks them up."""
        bos = self.tokenizer.decode(self.prefix_token_id)
        pairs = [request.args for request in requests]
        texts = {text for context, continuation in pairs for text in (context.rstrip(), context + continuation)}
        ahead = [text for text in texts if text and not has_bos_prefix(text, bos)]
        encoded = self.tokenizer(ahead, **_add_special_kwargs(None, self.add_bos_token))["input_ids"] if ahead else []
        self._encoded = dict(zip(ahead, encoded, strict=True))

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, *args: Any, **kwargs: Any) -> list[int]:
        """Return the token ids of a text, as `hf` does.

        Args:
            string: the text.
            add_special_tokens: whether a BOS token comes first; None to follow `add_bos_token`.
            *args: as `hf` takes them.
            **kwargs: as `hf` takes them.
        """
        if add_special_tokens is None and not args and not kwargs and string in self._encoded:
            return self._encoded[string]
        encoded: list[int] = super().tok_encode(string, add_special_tokens, *args, **kwargs)
        return encoded

    def _loglikelihood_tokens(
        self, requests: list[EncodedRequest], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[Answer]:
        for request in requests:
            self._check_length(*request)
        if self._runner is None:
            plain: list[Answer] = super()._loglikelihood_tokens(requests, disable_tqdm=True, override_bs=override_bs)
            self._report(len(requests))
            return plain
        tokenized = TokenRequests() if self._collected is None else self._collected
        for _, context, continuation in requests:
            tokenized.add(context, continuation, self.max_length)
        if tokenized is self._collected:
            return []
        return self._answer(tokenized, [text for text, _, _ in requests])

    def _check_length(self, text: tuple[str, str] | None, context: list[int], continuation: list[int]) -> None:
        """Raise an error if the continuation has no tokens or too many, or the context has none."""
        shown = repr(text[1]) if text else "a text"
        if not 0 < len(continuation) <= self.max_length:
            raise CalibError(
                f"the tokenizer makes {len(continuation)} tokens of {shown}; between 1 and the model's maximum of "
                f"{self.max_length} can be scored"
            )
        if not context:
            raise CalibError(
                f"the tokenizer makes 0 tokens of the context {text[0] if text else ''!r} of {shown}; it needs at "
                "least one: `add_bos_token: true` in `model_args` adds one if the tokenizer has a BOS token, and an "
                "empty context is replaced by the prefix token"
            )

    def _answer(self, tokenized: TokenRequests, texts: Sequence[tuple[str, str] | None]) -> list[Answer]:
        """Run tokenised requests in packed steps, and add their answers to lm-eval's cache of responses."""
        assert self._runner is not None
        answered = self._runner.run(tokenized, self.on_answers)
        answers = list(zip(answered.log_likelihoods, answered.greedy, strict=True))
        for text, answer in zip(texts, answers, strict=True):
            if text is not None:  # windows of a rolling log-likelihood have no text of their own
                self.cache_hook.add_partial("loglikelihood", text, answer)
        return answers

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Score whole texts, in windows if they are longer than the model's maximum.

        Args:
            requests: lm-eval's instances, whose `args` are (text,).
            disable_tqdm: whether no progress bar is shown.

        Returns:
            The log-likelihood of each text in nats, in order.
        """
        if self._runner is None:
            return list(super().loglikelihood_rolling(requests, disable_tqdm))
        if self._exceeds_rotary_limit(self.max_length):  # a window may be as long as that
            with self._as_hf(self.max_length):
                return list(super().loglikelihood_rolling(requests, disable_tqdm))
        with self._batches_of(_ALL_WINDOWS):  # so that all windows form one prefix tree
            return list(super().loglikelihood_rolling(requests, disable_tqdm))

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Generate texts; a prompt that several neighbouring requests share is read once.

        Args:
            requests: lm-eval's instances, whose `args` are (prompt, options of generation).
            disable_tqdm: whether no progress bar is shown.

        Returns:
            A text for each request, in order.
        """
        if self._runner is None or not requests:
            return list(super().generate_until(requests, disable_tqdm))
        longest = max(len(self.tok_encode(text)) for text in {request.args[0] for request in requests})
        options = [normalize_gen_kwargs(request.args[1], self.max_gen_toks) for request in requests]
        n_tokens = generation.max_tokens_per_row(min(longest, self.max_length), options)
        with self._batches_of(generation.max_rows(self.model, n_tokens)):
            return list(super().generate_until(requests, disable_tqdm))

    @contextmanager
    def _batches_of(self, size: int) -> Iterator[None]:
        """Let `hf` form batches of `size` within the `with` block."""
        given, self.batch_size_per_gpu = self.batch_size_per_gpu, size
        try:
            yield
        finally:
            self.batch_size_per_gpu = given

    def _model_generate(self, context: torch.Tensor, max_length: int, stop: list[str], **kwargs: Any) -> torch.Tensor:
        if self._runner is None:
            generated: torch.Tensor = super()._model_generate(context, max_length, stop, **kwargs)
        else:
            generated = generation.generate_in_parts(
                self._generate_rows, context, max_length, stop, filler=self.tokenizer.pad_token_id, **kwargs
            )
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

    def _report(self, n_answers: int) -> None:
        if self.on_answers and n_answers:
            self.on_answers(n_answers)

    def chat_renderer(self, name: bool | str) -> Callable[..., str]:
        """Return `apply_chat_template` with one of the tokenizer's templates; `hf` itself ignores the name.

        Args:
            name: the template's name; True for the default.

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
            given = self.chat_template_args
            self.chat_template_args = {**given, "chat_template": template}
            try:
                return str(self.apply_chat_template(chat_history, add_generation_prompt))
            finally:
                self.chat_template_args = given

        return render


def build_lm(
    model: transformers.PreTrainedModel,
    tokenizer: transformers.PreTrainedTokenizerBase,
    *,
    batch_size: int | str = 8,
    model_args: dict[str, Any] | None = None,
    prefix_trees: SharedPrefixTrees | None = None,
) -> PrefixLM:
    """Return the scorer of a model that is loaded already.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        batch_size: as `hf` takes it; used only if the model is scored as `hf` scores it.
        model_args: arguments of `hf`; those in `LOADING_ARGS` are ignored, because they were applied at loading.
        prefix_trees: what it shares with the scorers of other models; None to share nothing.

    Raises:
        CalibError: an argument that cannot be applied to a loaded model.
    """
    check_model_args(model_args or {})
    given = {k: v for k, v in (model_args or {}).items() if k not in LOADING_ARGS}
    with silence_lm_eval(keep_progress_bars=True):
        return PrefixLM(model, tokenizer=tokenizer, batch_size=batch_size, prefix_trees=prefix_trees, **given)
