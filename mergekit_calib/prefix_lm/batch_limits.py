"""How many tokens and hidden states are computed at once on a device; halved when its memory runs out."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_CPU_TOKENS = 1024  # enough for fast matrix products, which read the weights from memory once a step
_CPU_TOKENS_UNDIVIDED = 256  # if attention is computed between all tokens of a step, most of it masked
_GPU_TOKENS = 4096
_CPU_ROWS = 512  # enough hidden states for matrix products at full speed
_GPU_ROWS = 4096
_CPU_BYTES = 4 * 2**20  # logits that stay in the CPU's cache
_GPU_BYTES = 256 * 2**20


@dataclass
class BatchLimits:
    """The most that is computed at once.

    Scorers of models of one architecture and dtype share an instance: what did not fit in memory for one model will not
    fit for the next.

    Attributes:
        step_tokens: tokens in one step.
        head_rows: hidden states that the output head is given at once.
        block_bytes: bytes of one block of logits, in float32.
    """

    step_tokens: int
    head_rows: int
    block_bytes: int

    @classmethod
    def for_device(cls, device: torch.device, attention_by_run: bool) -> BatchLimits:
        """Return the limits that suit a device.

        Args:
            device: where the model is.
            attention_by_run: whether attention is computed run by run, as in `attention`.
        """
        if device.type == "cpu":
            return cls(_CPU_TOKENS if attention_by_run else _CPU_TOKENS_UNDIVIDED, _CPU_ROWS, _CPU_BYTES)
        return cls(_GPU_TOKENS, _GPU_ROWS, _GPU_BYTES)

    @property
    def are_minimal(self) -> bool:
        """Whether halving the limits would change nothing but the blocks of logits."""
        return self.step_tokens == self.head_rows == 1

    def halve(self) -> None:
        """Halve every limit, to no less than 1."""
        self.step_tokens, self.head_rows = max(1, self.step_tokens // 2), max(1, self.head_rows // 2)
        self.block_bytes = max(1, self.block_bytes // 2)
