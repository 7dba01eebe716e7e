"""Sums of log-probabilities for each request, from hidden states that are collected for the output head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from mergekit_calib.prefix_lm.head import OutputHead
from mergekit_calib.prefix_lm.prefix_tree import TokenRequests
from mergekit_calib.prefix_lm.steps import IntArray, Step


@dataclass(frozen=True)
class Answers:
    """The answers to some requests, in their order.

    Attributes:
        log_likelihoods: the log-likelihood of each continuation, in nats.
        greedy: whether greedy decoding would give each continuation.
    """

    log_likelihoods: list[float]
    greedy: list[bool]


class Accumulator:
    """Turns the hidden states of steps into the answers to requests.

    Args:
        requests: the requests that the steps answer.
        head: the output head of the model that computes the hidden states.
        to_device: copies an array to the head's device.
        device: the head's device.

    Attributes:
        n_pending: number of hidden states that the head has not been applied to yet.
    """

    def __init__(
        self,
        requests: TokenRequests,
        head: OutputHead,
        to_device: Callable[[IntArray], torch.Tensor],
        device: torch.device,
    ) -> None:
        self._head, self._to_device = head, to_device
        self._lengths = requests.lengths
        self._n_missing = self._lengths.copy()
        self._reported = np.zeros(len(requests), dtype=bool)
        self._pending: list[tuple[torch.Tensor, Step]] = []
        self.n_pending = 0
        # The sums stay on the device, so that the host waits for it only once, at the end.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self._sums = torch.zeros(len(requests), dtype=dtype, device=device)
        self._n_not_greedy = torch.zeros(len(requests), dtype=torch.int32, device=device)

    def add(self, hidden: torch.Tensor, step: Step) -> int:
        """Add the hidden states of a step.

        Args:
            hidden: (len(step.reads), hidden size).
            step: the step that they come from.

        Returns:
            How many more requests now have all their hidden states.
        """
        self._pending.append((hidden, step))
        self.n_pending += len(hidden)
        np.subtract.at(self._n_missing, step.requests, 1)
        touched = np.unique(step.requests)
        completed = touched[(self._n_missing[touched] == 0) & ~self._reported[touched]]
        self._reported[completed] = True
        return len(completed)

    def apply_head(self) -> None:
        """Apply the output head to all pending hidden states, in parts of about equal size, at most `max_rows`."""
        if not self._pending:
            return
        hidden = torch.cat([part for part, _ in self._pending])
        starts = np.cumsum([0, *(len(part) for part, _ in self._pending)])
        steps = [step for _, step in self._pending]
        rows = np.concatenate([step.rows + start for step, start in zip(steps, starts, strict=False)])
        targets = np.concatenate([step.targets for step in steps])
        requests = np.concatenate([step.requests for step in steps])
        n_parts = -(-len(hidden) // self._head.max_rows)
        bounds = np.linspace(0, len(hidden), n_parts + 1).astype(np.int64)
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            inside = (rows >= start) & (rows < stop)
            self._add_log_probabilities(hidden[start:stop], rows[inside] - start, targets[inside], requests[inside])
        self._pending, self.n_pending = [], 0

    def _add_log_probabilities(
        self, hidden: torch.Tensor, rows: IntArray, targets: IntArray, requests: IntArray
    ) -> None:
        """Apply the output head, and add each target's log-probability to the sum of its request."""
        numbers = self._to_device(requests)
        scores, greedy = self._head(hidden, self._to_device(rows), self._to_device(targets))
        self._sums.index_add_(0, numbers, scores.to(self._sums.dtype))
        self._n_not_greedy.index_add_(0, numbers, (~greedy).to(torch.int32))

    def discard_unfinished(self) -> IntArray:
        """Reset the requests that are not fully answered, and drop the pending hidden states.

        Returns:
            (k,) the numbers of those requests, which have to be run again.
        """
        pending = [step.requests for _, step in self._pending]
        unfinished = np.unique(np.concatenate([np.flatnonzero(self._n_missing), *pending]))
        self._pending, self.n_pending = [], 0
        self._n_missing[unfinished] = self._lengths[unfinished]
        numbers = self._to_device(unfinished)
        self._sums.index_fill_(0, numbers, 0)
        self._n_not_greedy.index_fill_(0, numbers, 0)
        return unfinished

    def answers(self) -> Answers:
        """Return the answers to all requests; `apply_head` must have been called after the last step."""
        return Answers(self._sums.tolist(), (self._n_not_greedy == 0).tolist())
