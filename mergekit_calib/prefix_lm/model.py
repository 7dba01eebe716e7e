"""`PrefixLM`, the lm-eval model `hf-prefix`: lm-eval's `hf`, but tokens that requests share are run once.

It relies on lm-eval 0.4.13: `_loglikelihood_tokens` returns (log-likelihood, is greedy) in the order of its requests;
`loglikelihood_rolling` passes it windows in batches of `batch_size`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import transformers

from mergekit_calib.prefix_lm.batch_limits import BatchLimits
from mergekit_calib.prefix_lm.compatibility import disagreement_with_plain
from mergekit_calib.prefix_lm.dtype_speed import SLOWDOWN_THRESHOLD, slowdown_against_float32
from mergekit_calib.prefix_lm.encoding import EncodedRequest
from mergekit_calib.prefix_lm.generating import GeneratingLM
from mergekit_calib.prefix_lm.model_args import LOADING_ARGS, check_model_args
from mergekit_calib.prefix_lm.packed import PackedRunner
from mergekit_calib.prefix_lm.prefix_tree import TokenRequests
from mergekit_calib.prefix_lm.shared_trees import ModelKind, SharedPrefixTrees, TokenizerOptions
from mergekit_calib.prefix_lm.silence import silence_lm_eval

Answer = tuple[float, bool]
"""The log-likelihood of a continuation in nats, and whether greedy decoding would give it."""

_ALL_WINDOWS = 2**31  # a batch size that no number of windows exceeds


class PrefixLM(GeneratingLM):
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
    """

    def __init__(
        self,
        pretrained: str | transformers.PreTrainedModel,
        *,
        softmax_dtype: str | torch.dtype | None = "float32",
        prefix_trees: SharedPrefixTrees | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(pretrained, softmax_dtype=softmax_dtype, **arguments)
        self._prefix_trees = prefix_trees or SharedPrefixTrees()
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

    def _loglikelihood_tokens(
        self, requests: list[EncodedRequest], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[Answer]:
        if self._collected is not None:
            return super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)
        if self._runner is None:
            plain = super()._loglikelihood_tokens(requests, disable_tqdm=True, override_bs=override_bs)
            self._report(len(requests))
            return plain
        tokenized = TokenRequests()
        for text, context, continuation in requests:
            self._check_length(text, context, continuation)
            tokenized.add(context, continuation, self.max_length)
        return self._answer(tokenized, [text for text, _, _ in requests])

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
