"""What a suite uses of the lm-eval model that it scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from transformers import PreTrainedTokenizerBase

from mergekit_calib.prefix_lm.answer_lengths import AnswerLength


class SuiteLM(Protocol):
    """What a suite uses of the lm-eval model that it scores, besides lm-eval's methods for each type of request.

    Attributes:
        tokenizer: the tokenizer.
        chat_template_args: what chat templates are given.
        on_answers: a function that is called with the number of newly answered requests; None for no calls.
    """

    tokenizer: PreTrainedTokenizerBase
    chat_template_args: dict[str, Any]
    on_answers: Callable[[int], None] | None

    @property
    def answer_lengths(self) -> list[AnswerLength]:
        """The lengths of the answers of the latest `generate_until`, in the order of its requests."""

    @property
    def tokenizer_name(self) -> str:
        """The name that lm-eval's cache of requests has for the tokenizer."""

    def chat_renderer(self, name: bool | str) -> Callable[..., str]:
        """Return a function that renders a conversation with a chat template; True for the default template."""

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Score continuations."""

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Score whole texts."""

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Generate texts."""
