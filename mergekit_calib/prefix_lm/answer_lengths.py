"""`MeasuringLM`: lm-eval's `hf`, but it counts the tokens of each generated answer, and notes which have no end.

It relies on lm-eval 0.4.13: `generate_until` takes each request's `args`, in an order of its own, and passes the
prompts of a batch to `tok_batch_encode` right before it generates their answers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.models.huggingface import HFLM


@dataclass(frozen=True)
class AnswerLength:
    """The length of a generated answer.

    Attributes:
        tokens: how many tokens the model generated for it, with those that ended it, and any reasoning that lm-eval
            removes from the text.
        cut_off: whether the limit ended it: it has neither a token nor a text that ends answers.
    """

    tokens: int
    cut_off: bool


class _NumberedPrompt(str):
    """A prompt that knows the number of its request, whatever order lm-eval runs requests in."""

    number: int


@dataclass(frozen=True)
class _Request:
    args: tuple[Any, ...]


class MeasuringLM(HFLM):  # type: ignore[misc]
    """lm-eval's `hf`, but it counts the tokens of each generated answer.

    Attributes:
        answer_lengths: those of the latest `generate_until`, in the order of its requests.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.answer_lengths: list[AnswerLength] = []
        self._measured: dict[int, AnswerLength] = {}
        self._batch: list[int] = []

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Generate texts, and keep their lengths.

        Args:
            requests: lm-eval's instances, whose `args` are (prompt, options of generation).
            disable_tqdm: whether no progress bar is shown.

        Returns:
            A text for each request, in order.
        """
        self._measured, self.answer_lengths = {}, []
        texts: list[str] = super().generate_until([_numbered(r, i) for i, r in enumerate(requests)], disable_tqdm)
        self.answer_lengths = [self._measured[i] for i in range(len(requests))]
        return texts

    def tok_batch_encode(self, strings: list[str], *args: Any, **kwargs: Any) -> Any:
        """Encode prompts as `hf` does, and keep which requests they are of.

        Args:
            strings: the prompts of a batch.
            *args: as `hf` takes them.
            **kwargs: as `hf` takes them.
        """
        self._batch = [text.number for text in strings if isinstance(text, _NumberedPrompt)]
        return super().tok_batch_encode([str(text) for text in strings], *args, **kwargs)

    def measure(self, answers: Sequence[Sequence[int]], stop: Sequence[str], ends: Collection[int]) -> None:
        """Keep the lengths of the answers of the batch that was encoded last.

        Args:
            answers: token ids of each, without the prompt; after its end may follow anything, and padding.
            stop: texts that end an answer.
            ends: tokens that end an answer.
        """
        if len(self._batch) != len(answers):  # `hf` generates for another purpose
            return
        for number, ids in zip(self._batch, answers, strict=True):
            self._measured[number] = self._length(list(ids), [text for text in stop if text], frozenset(ends))

    def end_tokens(self, options: Any = None) -> set[int]:
        """Return the tokens that end an answer: those of the generation config, of the options, and the tokenizer's."""
        config = getattr(self.model, "generation_config", None)
        given = [
            (options or {}).get("eos_token_id"),
            getattr(config, "eos_token_id", None),
            self.tokenizer.eos_token_id,
        ]
        return {int(i) for some in given if some is not None for i in (some if isinstance(some, list) else [some])}

    def _length(self, ids: list[int], stop: Sequence[str], ends: Collection[int]) -> AnswerLength:
        first = next((i for i, token in enumerate(ids) if token in ends), None)
        kept = ids if first is None else ids[: first + 1]
        if any(text in self.tok_decode(kept) for text in stop):
            # The fewest tokens whose text holds one of the texts: once it is there, it stays.
            low, high = 1, len(kept)
            while low < high:
                middle = (low + high) // 2
                text = self.tok_decode(kept[:middle])
                low, high = (low, middle) if any(end in text for end in stop) else (middle + 1, high)
            return AnswerLength(low, False)
        if first is not None:
            return AnswerLength(first + 1, False)
        while kept and kept[-1] == self.tokenizer.pad_token_id:
            kept = kept[:-1]
        return AnswerLength(len(kept), True)


def _numbered(request: Any, number: int) -> _Request:
    prompt = _NumberedPrompt(request.args[0])
    prompt.number = number
    return _Request((prompt, *request.args[1:]))
