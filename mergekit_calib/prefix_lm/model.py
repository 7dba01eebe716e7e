"""The scorer: lm-eval's `hf` model, with each distinct token run once and the head only at answers.

Relied on in lm-eval 0.4.13: `LM.loglikelihood` tokenises with `tok_encode` and hands `((context, continuation), context
tokens, continuation tokens)` triples to `_loglikelihood_tokens`, which returns `(log-likelihood, is greedy)` in their
order; `loglikelihood_rolling` hands it windows in batches of `batch_size`; `generate_until` calls `_model_generate`.
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

from mergekit_calib.errors import CalibError, near_names
from mergekit_calib.prefix_lm import generation
from mergekit_calib.prefix_lm.batch_limits import Sizes
from mergekit_calib.prefix_lm.compatibility import differs_from_plain, same_rotation_up_to, why_not
from mergekit_calib.prefix_lm.dtype_speed import MUCH, times_as_long
from mergekit_calib.prefix_lm.packed import PackedRunner
from mergekit_calib.prefix_lm.prefix_tree import Requests
from mergekit_calib.prefix_lm.silence import quiet_lm_eval

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
Texts = tuple[tuple[str, str], ...]
Reading = tuple[int, bool | None, int | None]
"""How texts become inputs, beside the tokenizer: the most tokens, whether a BOS token is added, the prefix token."""

_AT_A_TIME = 1000  # texts that are tokenised together


class Arrangements:
    """Requests as one tokenizer reads them, tokenised and arranged once for all models that read them in one way."""

    def __init__(self) -> None:
        self._tokenizer: object = None
        self._requests: dict[tuple[Texts, Reading], Requests] = {}
        self.trusted: set[tuple[str, str]] = set()  # architectures and dtypes that were checked against the plain path
        self.sizes: dict[tuple[str, str], Sizes] = {}  # what fits of each

    def of(self, texts: Texts, tokenizer: object, reading: Reading, arrange: Callable[[], Requests]) -> Requests:
        """The requests of `texts`; `arrange` makes them where they are not known."""
        if self._tokenizer is not tokenizer:
            self._tokenizer, self._requests = tokenizer, {}
        if (texts, reading) not in self._requests:
            self._requests[texts, reading] = arrange()
        return self._requests[texts, reading]


class PrefixLM(HFLM):
    """`hf`, with what requests begin with alike run once, and the head and the log-softmax only where they are read.

    Every argument of `hf` means the same, but that `softmax_dtype` is float32 unless it is given (`hf` takes the
    log-softmax in the model's own dtype, and bfloat16 rounds a log-probability of −10 to the nearest 1/16, which ties
    choices and blurs confidences), and that `batch_size` need not be: steps are packed by tokens and memory. A model
    that cannot share what it computed is scored as `hf` scores it.

    Attributes:
        plain_because: why this model is scored as `hf` would; None where it is not.
        on_answers: told how many requests were answered, as they are.
    """

    chat_template_args: dict[str, Any]
    batch_size_per_gpu: int | str

    def __init__(
        self,
        pretrained: str | transformers.PreTrainedModel,
        *,
        softmax_dtype: str | torch.dtype | None = "float32",
        arrangements: Arrangements | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(pretrained, softmax_dtype=softmax_dtype, **arguments)
        self.on_answers: Callable[[int], None] | None = None
        self._arrangements = arrangements or Arrangements()
        self._collected: Requests | None = None
        self._encoded: dict[str, list[int]] = {}
        self._same_up_to = same_rotation_up_to(self.model)
        self.plain_because = "its weights are spread over processes" if self.world_size > 1 else why_not(self.model)
        self._runner: PackedRunner | None = None
        if self.plain_because is None:
            kind = (type(self.model).__name__, str(self.model.dtype))
            self._runner = PackedRunner(
                self.model,
                self.softmax_dtype or self.model.dtype,
                self.mixed_precision_dtype,
                self._arrangements.sizes.get(kind),
            )
            self._arrangements.sizes[kind] = self._runner.sizes
            self._check_against_plain(kind)
        if self.plain_because is not None:
            warnings.warn(f"scored as lm-eval's `hf` scores, because {self.plain_because}", stacklevel=2)
        dtype = self.model.dtype
        on_cpu = self.device.type == "cpu" and self.mixed_precision_dtype is None
        if on_cpu and (slower := times_as_long(dtype)) > MUCH:
            name = str(dtype).removeprefix("torch.")
            warnings.warn(
                f"this processor takes {slower:.0f} times as long for a linear layer in {name} as in float32: "
                "`dtype: float32` in `model_args` scores the same weights sooner, and more exactly",
                stacklevel=2,
            )

    def _check_against_plain(self, kind: tuple[str, str]) -> None:
        """On first use of an architecture: that packed steps give what plain forward passes give."""
        if self._runner is None or kind in self._arrangements.trusted:
            return
        if problem := differs_from_plain(self._runner, self.max_length):
            self._runner, self.plain_because = None, problem
        else:
            self._arrangements.trusted.add(kind)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Answer]:
        if self._runner is None or not requests:
            plain: list[Answer] = super().loglikelihood(requests, disable_tqdm)
            return plain
        texts = tuple(request.args for request in requests)
        reading = (self.max_length, self.add_bos_token, self.prefix_token_id)
        arranged = self._arrangements.of(texts, self.tokenizer, reading, lambda: self._arranged(requests))
        if self._is_rotated_otherwise(arranged.longest):
            with self._as_hf(arranged.longest):
                return list(super().loglikelihood(requests, disable_tqdm))
        return self._answer(arranged, texts)

    def _is_rotated_otherwise(self, n_tokens: int) -> bool:
        """Whether an input of so many tokens gets another rotary embedding than a shorter one."""
        return self._same_up_to is not None and n_tokens > self._same_up_to

    @contextmanager
    def _as_hf(self, n_tokens: int) -> Iterator[None]:
        """While it lasts, `hf` does the scoring, of inputs of up to so many tokens."""
        warnings.warn(
            f"inputs of up to {n_tokens} tokens are scored as lm-eval's `hf` scores, because the model's rotary "
            f"embedding is another beyond {self._same_up_to}",
            stacklevel=3,
        )
        runner, self._runner = self._runner, None
        try:
            yield
        finally:
            self._runner = runner

    def _arranged(self, requests: Sequence[Any]) -> Requests:
        """Requests tokenised by lm-eval itself, which looks up texts that were encoded many at a time."""
        self._collected = collected = Requests()
        try:
            for start in range(0, len(requests), _AT_A_TIME):
                some = list(requests[start : start + _AT_A_TIME])
                self._encode_ahead(some)
                super().loglikelihood(some, disable_tqdm=True)
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
        bos = self.tokenizer.decode(self.prefix_token_id)
        pairs = [request.args for request in requests]
        texts = {text for context, continuation in pairs for text in (context.rstrip(), context + continuation)}
        ahead = [text for text in texts if text and not has_bos_prefix(text, bos)]
        encoded = self.tokenizer(ahead, **_add_special_kwargs(None, self.add_bos_token))["input_ids"] if ahead else []
        self._encoded = dict(zip(ahead, encoded, strict=True))

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, *args: Any, **kwargs: Any) -> list[int]:
        if add_special_tokens is None and not args and not kwargs and string in self._encoded:
            return self._encoded[string]
        encoded: list[int] = super().tok_encode(string, add_special_tokens, *args, **kwargs)
        return encoded

    def _loglikelihood_tokens(
        self, requests: list[TokenRequest], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[Answer]:
        for request in requests:
            self._check_length(*request)
        if self._runner is None:
            plain: list[Answer] = super()._loglikelihood_tokens(requests, disable_tqdm=True, override_bs=override_bs)
            self._report(len(requests))
            return plain
        arranged = Requests() if self._collected is None else self._collected
        for _, context, continuation in requests:
            arranged.add(context, continuation, self.max_length)
        if arranged is self._collected:
            return []
        return self._answer(arranged, [text for text, _, _ in requests])

    def _check_length(self, text: tuple[str, str] | None, context: list[int], continuation: list[int]) -> None:
        shown = repr(text[1]) if text else "a text"
        if not 0 < len(continuation) <= self.max_length:
            raise CalibError(
                f"{shown} is {len(continuation)} tokens to this tokenizer; between 1 and the model's maximum "
                f"of {self.max_length} can be scored"
            )
        if not context:
            raise CalibError(
                f"the context {text[0] if text else ''!r} of {shown} is 0 tokens to this tokenizer; at least one is "
                "needed: `add_bos_token: true` in `model_args` adds one, where the tokenizer has one to add, and an "
                "empty context is given the prefix token"
            )

    def _answer(self, arranged: Requests, texts: Sequence[tuple[str, str] | None]) -> list[Answer]:
        assert self._runner is not None
        found = self._runner.run(arranged, self.on_answers)
        answers = list(zip(found.log_likelihoods, found.greedy, strict=True))
        for text, answer in zip(texts, answers, strict=True):
            if text is not None:  # windows of a rolling log-likelihood have no text of their own
                self.cache_hook.add_partial("loglikelihood", text, answer)
        return answers

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        if self._runner is None:
            return list(super().loglikelihood_rolling(requests, disable_tqdm))
        if self._is_rotated_otherwise(self.max_length):  # which windows may be as long as
            with self._as_hf(self.max_length):
                return list(super().loglikelihood_rolling(requests, disable_tqdm))
        with self._batches_of(2**31):  # all windows are arranged together
            return list(super().loglikelihood_rolling(requests, disable_tqdm))

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        if self._runner is None or not requests:
            return list(super().generate_until(requests, disable_tqdm))
        longest = max(len(self.tok_encode(text)) for text in {request.args[0] for request in requests})
        options = [normalize_gen_kwargs(request.args[1], self.max_gen_toks) for request in requests]
        n_tokens = generation.tokens_of_a_row(min(longest, self.max_length), options)
        with self._batches_of(generation.rows_that_fit(self.model, n_tokens)):
            return list(super().generate_until(requests, disable_tqdm))

    @contextmanager
    def _batches_of(self, size: int) -> Iterator[None]:
        given, self.batch_size_per_gpu = self.batch_size_per_gpu, size
        try:
            yield
        finally:
            self.batch_size_per_gpu = given

    def _model_generate(self, context: torch.Tensor, max_length: int, stop: list[str], **kwargs: Any) -> torch.Tensor:
        if self._runner is None:
            generated: torch.Tensor = super()._model_generate(context, max_length, stop, **kwargs)
        else:
            generated = generation.generated_in_parts(
                self._generate_rows, context, max_length, stop, filler=self.tokenizer.pad_token_id, **kwargs
            )
        self._report(len(context))
        return generated

    def _generate_rows(self, context: torch.Tensor, max_length: int, stop: list[str], **kwargs: Any) -> torch.Tensor:
        mixed, read = self.mixed_precision_dtype, {}
        if generation.can_go_on(self.model, kwargs) and not self._is_rotated_otherwise(max_length):
            with torch.no_grad(), torch.autocast(self.device.type, mixed, enabled=mixed is not None):
                read = generation.read_once(self.model, context, kwargs["attention_mask"])
        rows: torch.Tensor = super()._model_generate(context, max_length, stop, **kwargs, **read)
        return rows

    def _report(self, n_answers: int) -> None:
        if self.on_answers and n_answers:
            self.on_answers(n_answers)

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


def build_lm(
    model: transformers.PreTrainedModel,
    tokenizer: transformers.PreTrainedTokenizerBase,
    *,
    batch_size: int | str = 8,
    model_args: dict[str, Any] | None = None,
    arrangements: Arrangements | None = None,
) -> PrefixLM:
    """A scorer for `model`.

    Args:
        batch_size: as `hf` takes it, for a model that is scored as `hf` scores it.
        model_args: as `hf` takes them, those in `MODEL_ARGS`.
        arrangements: what was arranged for the models before it.

    Raises:
        CalibError: an argument that `hf` does not have, or that only says how weights are loaded.
    """
    check_model_args(model_args or {})
    given = {k: v for k, v in (model_args or {}).items() if k not in LOADING_ARGS}
    with quiet_lm_eval(progress_bars=True):
        return PrefixLM(model, tokenizer=tokenizer, batch_size=batch_size, arrangements=arrangements, **given)


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
