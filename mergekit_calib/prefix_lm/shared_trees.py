"""State that the scorers of several models share, above all the prefix trees of the same requests."""

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
    """The settings that decide, besides the tokenizer, how texts become token ids.

    Attributes:
        max_length: the most tokens of an input.
        add_bos_token: whether a BOS token comes first; None to leave it to the tokenizer.
        prefix_token_id: the token that stands for an empty context.
    """

    max_length: int
    add_bos_token: bool | None
    prefix_token_id: int | None


class SharedPrefixTrees:
    """Tokenised requests with their prefix trees, and limits; to share them, pass one object to each `PrefixLM`.

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
        """Return the tokenised requests of `texts`; they are computed once, and hold their prefix tree.

        Args:
            texts: context and continuation of each request.
            tokenizer: the tokenizer; when it changes, the requests of the last one are forgotten.
            options: how the tokenizer is used.
            tokenize: computes the requests; called if they are not stored yet.
        """
        if self._tokenizer is not tokenizer:
            self._tokenizer, self._requests = tokenizer, {}
        if (texts, options) not in self._requests:
            self._requests[texts, options] = tokenize()
        return self._requests[texts, options]
