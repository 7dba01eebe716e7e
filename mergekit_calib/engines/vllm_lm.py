"""The lm-eval models of a point whose texts vLLM generates.

They rely on lm-eval 0.4.13: `hf` tokenises, cuts prompts on the left, and cuts answers at stop texts around
`_model_generate`, which is all that is replaced here. So both engines give the same texts for the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
import transformers

from mergekit_calib.engines.sampling import sampling_arguments
from mergekit_calib.errors import CalibError
from mergekit_calib.prefix_lm.answer_lengths import AnswerLength
from mergekit_calib.prefix_lm.encoding import EncodingLM
from mergekit_calib.prefix_lm.model import PrefixLM
from mergekit_calib.prefix_lm.model_args import LOADING_ARGS
from mergekit_calib.prefix_lm.silence import silence_lm_eval

_ALL_REQUESTS = 2**31  # a batch size that no number of requests exceeds: vLLM forms batches itself


class Generates(Protocol):
    """What generates: `RunningVllm`, in tests a function around a small model."""

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sequence[dict[str, Any]],
        on_answers: Callable[[int], None] | None = None,
    ) -> list[list[int]]:
        """Return the token ids of an answer to each prompt."""


class VllmLM(EncodingLM):
    """lm-eval's `hf`, but vLLM generates. It scores nothing.

    Args:
        skeleton: a model without weights, with the config and the generation config of the point.
        tokenizer: the point's tokenizer.
        engine: generates; it holds the point's weights.
        max_length: the most tokens of a prompt and its answer that `engine` can take.
        model_args: arguments of lm-eval's `hf`.

    Attributes:
        on_answers: a function that is called with the number of newly answered requests; None for no calls.
    """

    batch_size_per_gpu: int | str

    def __init__(
        self,
        skeleton: transformers.PreTrainedModel,
        tokenizer: transformers.PreTrainedTokenizerBase,
        engine: Generates,
        max_length: int,
        model_args: dict[str, Any] | None = None,
    ) -> None:
        given = {k: v for k, v in (model_args or {}).items() if k not in LOADING_ARGS}
        with silence_lm_eval(keep_progress_bars=True):
            super().__init__(skeleton, tokenizer=tokenizer, batch_size=_ALL_REQUESTS, **given)
        self._device = torch.device("cpu")  # where tokens are, in place of the skeleton's `meta`
        self._max_length = min(self.max_length, max_length)
        self._engine = engine
        self.on_answers: Callable[[int], None] | None = None

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Refuse to score continuations.

        Args:
            requests: lm-eval's instances.
            disable_tqdm: not used.

        Raises:
            CalibError: always.
        """
        raise CalibError("engine: vllm only generates; {generation: vllm} leaves log-likelihoods to transformers")

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Refuse to score texts.

        Args:
            requests: lm-eval's instances.
            disable_tqdm: not used.

        Raises:
            CalibError: always.
        """
        return [score for score, _ in self.loglikelihood(requests)]

    def _model_generate(self, context: torch.Tensor, max_length: int, stop: list[str], **kwargs: Any) -> torch.Tensor:
        """Generate for all rows; each has a seed of its own, drawn from torch's generator, so that it can be repeated.

        Args:
            context: (rows, tokens) token ids, padded on the left.
            max_length: the most tokens of a row.
            stop: texts that end an answer.
            **kwargs: `attention_mask`, and options of `generate`.

        Returns:
            (rows, longest row) token ids, contexts included.
        """
        mask = kwargs.pop("attention_mask").bool()
        prompts = [row[kept].tolist() for row, kept in zip(context, mask, strict=True)]
        seeds = torch.randint(2**31, (len(prompts),)).tolist()
        config, longest = self.model.generation_config, max_length - context.shape[1]
        sampling = [sampling_arguments(config, kwargs, max_tokens=longest, stop=stop, seed=seed) for seed in seeds]
        generated_ids = self._engine.generate(prompts, sampling, self.on_answers)
        self.measure(generated_ids, stop, self.end_tokens(kwargs))
        answers = [torch.tensor(ids, dtype=torch.long) for ids in generated_ids]
        filler = float(self.tokenizer.pad_token_id)
        generated = torch.nn.utils.rnn.pad_sequence(answers, batch_first=True, padding_value=filler)
        return torch.cat([context, generated], dim=1)


class TwoPhaseLM:
    """One lm-eval model out of two that hold the same weights: one scores, one generates.

    Args:
        scorer: scores continuations and texts.
        generator: generates.
    """

    def __init__(self, scorer: PrefixLM, generator: VllmLM) -> None:
        self._scorer, self._generator = scorer, generator
        self.tokenizer: transformers.PreTrainedTokenizerBase = scorer.tokenizer
        self.chat_template_args: dict[str, Any] = scorer.chat_template_args
        self.loglikelihood, self.loglikelihood_rolling = scorer.loglikelihood, scorer.loglikelihood_rolling
        self.generate_until: Callable[..., list[str]] = generator.generate_until
        self.chat_renderer = scorer.chat_renderer

    @property
    def tokenizer_name(self) -> str:
        """The name that lm-eval's cache of requests has for the tokenizer."""
        return str(self._scorer.tokenizer_name)

    @property
    def answer_lengths(self) -> list[AnswerLength]:
        """The lengths of the answers that were generated last."""
        return self._generator.answer_lengths

    @property
    def on_answers(self) -> Callable[[int], None] | None:
        """A function that is called with the number of newly answered requests; None for no calls."""
        return self._scorer.on_answers

    @on_answers.setter
    def on_answers(self, function: Callable[[int], None] | None) -> None:
        self._scorer.on_answers = self._generator.on_answers = function
