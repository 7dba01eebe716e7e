"""A comparison of two engines that should hold the same weights, by the log-probabilities of next tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import transformers

N_COMPARED = 5  # tokens after each prompt
_N_PROMPTS = 8
_LONGEST = 160  # tokens; more than a block of vLLM's prefix cache, so that a stale one is seen
_HALF_PRECISION = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class NextTokens:
    """What a model says after some prompts.

    Attributes:
        prompts: token ids of each prompt.
        log_probabilities: (prompts, vocabulary) of the next token, in nats.
        dtype: the dtype that the model computes in.
    """

    prompts: list[list[int]]
    log_probabilities: torch.Tensor
    dtype: torch.dtype

    @property
    def tolerance(self) -> float:
        """The greatest mean difference, in nats, that rounding in `dtype` explains."""
        return 0.2 if self.dtype in _HALF_PRECISION else 0.01

    def difference(self, others: Sequence[Mapping[int, float]]) -> float:
        """Return the mean absolute difference to another engine's log-probabilities, in nats.

        Args:
            others: for each prompt, token → its log-probability.
        """
        pairs = [
            (row[token], value)
            for row, of in zip(self.log_probabilities, others, strict=True)
            for token, value in of.items()
        ]
        ours, theirs = (torch.tensor(values, dtype=torch.float64) for values in zip(*pairs, strict=True))
        return float((ours - theirs).abs().mean())


@torch.no_grad()
def next_tokens(
    model: transformers.PreTrainedModel,
    tokenizer: transformers.PreTrainedTokenizerBase,
    max_length: int | None = None,
) -> NextTokens:
    """Return what a model says after prompts of random tokens, the same for every model of a vocabulary.

    Args:
        model: the model.
        tokenizer: its tokenizer; its special tokens are left out.
        max_length: the most tokens of a prompt and one more; None for the model's own maximum.
    """
    config = model.config.get_text_config(decoder=True)
    longest = min(_LONGEST, getattr(config, "max_position_embeddings", None) or _LONGEST, max_length or _LONGEST) - 1
    special = set(tokenizer.all_special_ids)
    ordinary = [i for i in range(min(config.vocab_size, len(tokenizer))) if i not in special]
    chosen = torch.randint(len(ordinary), (_N_PROMPTS, longest), generator=torch.Generator().manual_seed(0))
    prompts = torch.tensor(ordinary)[chosen]
    logits = torch.cat([model(input_ids=row[None].to(model.device)).logits[:, -1].float().cpu() for row in prompts])
    return NextTokens(prompts.tolist(), logits.log_softmax(-1), model.dtype)
