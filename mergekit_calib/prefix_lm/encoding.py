"""`EncodingLM`: lm-eval's `hf`, but many texts are tokenised at once, and chat templates can be chosen by name.

It relies on lm-eval 0.4.13: `LM.loglikelihood` tokenises with `tok_encode`, and passes ((context, continuation),
context tokens, continuation tokens) to `_loglikelihood_tokens`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.models.utils import _add_special_kwargs, has_bos_prefix

from mergekit_calib.errors import CalibError
from mergekit_calib.prefix_lm.answer_lengths import MeasuringLM
from mergekit_calib.prefix_lm.prefix_tree import TokenRequests

EncodedRequest = tuple[tuple[str, str], list[int], list[int]]
"""(Context, continuation) as text, tokens of the context, tokens of the continuation."""

_TOKENISED_TOGETHER = 1000  # requests


class EncodingLM(MeasuringLM):
    """lm-eval's `hf`, but many texts are tokenised at once, and chat templates can be chosen by name.

    Args:
        *args: as `hf` takes them.
        **kwargs: as `hf` takes them.
    """

    chat_template_args: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._collected: TokenRequests | None = None
        self._encoded: dict[str, list[int]] = {}

    def tokenize(self, requests: Sequence[Any]) -> TokenRequests:
        """Return tokenised requests, each split into context and continuation by lm-eval.

        Args:
            requests: lm-eval's instances, whose `args` are (context, continuation).

        Raises:
            CalibError: a text has tokens that the model has no embeddings for, which ends a process that uses a GPU.
        """
        self._collected = collected = TokenRequests()
        try:
            for start in range(0, len(requests), _TOKENISED_TOGETHER):
                batch = list(requests[start : start + _TOKENISED_TOGETHER])
                self._encode_ahead(batch)
                super().loglikelihood(batch, disable_tqdm=True)
        finally:
            self._collected, self._encoded = None, {}
        n_embeddings = len(self.model.get_input_embeddings().weight)
        if collected.largest >= n_embeddings:
            raise CalibError(
                f"the tokenizer gives token {collected.largest:,}, and the model has embeddings for {n_embeddings:,}: "
                "they belong to different models"
            )
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
    ) -> list[tuple[float, bool]]:
        for request in requests:
            self._check_length(*request)
        if self._collected is None:
            return list(super()._loglikelihood_tokens(requests, disable_tqdm=disable_tqdm, override_bs=override_bs))
        for _, context, continuation in requests:
            self._collected.add(context, continuation, self.max_length)
        return []

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
