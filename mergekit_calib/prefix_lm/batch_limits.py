"""How much a forward pass and the output head take at once: what a device does well, less where its memory is short."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_CPU_TOKENS = 1024  # enough for the matrix products, and for their weights to be fetched seldom
_CPU_TOKENS_TOGETHER = 256  # where attention takes all tokens of a step against each other
_GPU_TOKENS = 4096
_CPU_ROWS = 512  # enough hidden states for products at full speed
_GPU_ROWS = 4096
_CPU_BYTES = 4 * 2**20  # logits that stay in the processor's cache
_GPU_BYTES = 256 * 2**20


@dataclass
class Sizes:
    """At most so much at once; shared by all models of a sweep, for what did not fit one will not fit the next.

    Attributes:
        step_tokens: tokens of a step.
        head_rows: hidden states that the head is given.
        block_bytes: of a block of logits, in float32.
    """

    step_tokens: int
    head_rows: int
    block_bytes: int

    @classmethod
    def on(cls, device: torch.device, attention_in_runs: bool) -> Sizes:
        """What suits `device`.

        Args:
            attention_in_runs: whether attention leaves out what other branches of a step hold.
        """
        if device.type == "cpu":
            return cls(_CPU_TOKENS if attention_in_runs else _CPU_TOKENS_TOGETHER, _CPU_ROWS, _CPU_BYTES)
        return cls(_GPU_TOKENS, _GPU_ROWS, _GPU_BYTES)

    @property
    def are_least(self) -> bool:
        return self.step_tokens == self.head_rows == 1

    def halve(self) -> None:
        self.step_tokens, self.head_rows = max(1, self.step_tokens // 2), max(1, self.head_rows // 2)
        self.block_bytes = max(1, self.block_bytes // 2)
