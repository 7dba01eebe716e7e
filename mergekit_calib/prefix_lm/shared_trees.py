"""Prefix trees that several models share, because they read the same requests with the same tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mergekit_calib.prefix_lm.batch_limits import BatchLimits
from mergekit_calib.prefix_lm.prefix_tree import TokenRequests

Texts = tuple[tuple[str, str], ...]
"""The context and the continuation of each request."""

ModelKind = tuple[str, str]
"""The class name and the dtype of a model."""


@dataclass(frozen=True)
class TokenizerOptions:
    """What decides how texts become token ids, besides the tokenizer.

    Attributes:
        max_length: the most tokens of an input.
        add_bos_token: whether a BOS token is put first; None to leave it to the tokenizer.
        prefix_token_id: the token that stands for an empty context.
    """

    max_length: int
    add_bos_token: bool | None
    prefix_token_id: int | None


class SharedPrefixTrees:
    """What one model's scorer can reuse of another's: pass the same object to each `PrefixLM`.

    Attributes:
        checked: kinds of models whose packed log-likelihoods were compared with ordinary ones, and agreed.
        limits: how much is computed at once for each kind of model.
    """

    def __init__(self) -> None:
        self._tokenizer: object = None
        self._requests: dict[tuple[Texts, TokenizerOptions], TokenRequests] = {}
        self.checked: set[ModelKind] = set()
        self.limits: dict[ModelKind, BatchLimits] = {}

    def requests(
        self, texts: Texts, tokenizer: object, options: TokenizerOptions, tokenize: Callable[[], TokenRequests]
    ) -> TokenRequests:
        """Return the tokenised requests of `texts`, which hold their prefix tree.

        Args:
            texts: context and continuation of each request.
            tokenizer: requests of any tokenizer but the last one are forgotten.
            options: how the tokenizer is used.
            tokenize: computes the requests if they are not there yet.
        """
        if self._tokenizer is not tokenizer:
            self._tokenizer, self._requests = tokenizer, {}
        if (texts, options) not in self._requests:
            self._requests[texts, options] = tokenize()
        return self._requests[texts, options]
