"""What was asked and what was answered: hidden states of many steps wait here until the output head reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from mergekit_calib.prefix_lm.head import Head
from mergekit_calib.prefix_lm.prefix_tree import Requests
from mergekit_calib.prefix_lm.steps import Ints, Step


@dataclass(frozen=True)
class Answers:
    """(n_requests,) the log-likelihood of each request, and whether it is what greedy decoding would say."""

    log_likelihoods: list[float]
    greedy: list[bool]


class Tally:
    """The log-likelihoods of some requests, added up as they are read.

    Args:
        head: of the model that gives the hidden states.
        put: a host's array, on the device.

    Attributes:
        n_waiting: how many hidden states the head has not read yet.
    """

    def __init__(
        self,
        requests: Requests,
        head: Head,
        put: Callable[[Ints], torch.Tensor],
        device: torch.device,
    ) -> None:
        self._head, self._put = head, put
        self._lengths = requests.lengths
        self._left = self._lengths.copy()
        self._counted = np.zeros(len(requests), dtype=bool)
        self._waiting: list[tuple[torch.Tensor, Step]] = []
        self.n_waiting = 0
        # Sums stay on the device: nothing waits for it until all is answered.
        exact = torch.float32 if device.type == "mps" else torch.float64
        self._sums = torch.zeros(len(requests), dtype=exact, device=device)
        self._misses = torch.zeros(len(requests), dtype=torch.int32, device=device)

    def take(self, hidden: torch.Tensor, step: Step) -> int:
        """Take in a step's hidden states, (reads, hidden size); how many more requests that completes."""
        self._waiting.append((hidden, step))
        self.n_waiting += len(hidden)
        np.subtract.at(self._left, step.requests, 1)
        touched = np.unique(step.requests)
        new = touched[(self._left[touched] == 0) & ~self._counted[touched]]
        self._counted[new] = True
        return len(new)

    def read(self) -> None:
        """Run the head over all that waits, in parts of about one size that it takes at once."""
        if not self._waiting:
            return
        hidden = torch.cat([some for some, _ in self._waiting])
        starts = np.cumsum([0, *(len(some) for some, _ in self._waiting)])
        steps = [step for _, step in self._waiting]
        rows = np.concatenate([step.rows + start for step, start in zip(steps, starts, strict=False)])
        targets = np.concatenate([step.targets for step in steps])
        requests = np.concatenate([step.requests for step in steps])
        n_parts = -(-len(hidden) // self._head.rows)
        bounds = np.linspace(0, len(hidden), n_parts + 1).astype(np.int64)
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            inside = (rows >= start) & (rows < stop)
            self._add(hidden[start:stop], rows[inside] - start, targets[inside], requests[inside])
        self._waiting, self.n_waiting = [], 0

    def _add(self, hidden: torch.Tensor, rows: Ints, targets: Ints, requests: Ints) -> None:
        of = self._put(requests)
        scores, greedy = self._head(hidden, self._put(rows), self._put(targets))
        self._sums.index_add_(0, of, scores.to(self._sums.dtype))
        self._misses.index_add_(0, of, (~greedy).to(torch.int32))

    def reopen(self) -> Ints:
        """Forget what is only partly read; the numbers of the requests that are to be asked again."""
        waiting = [step.requests for _, step in self._waiting]
        unanswered = np.unique(np.concatenate([np.flatnonzero(self._left), *waiting]))
        self._waiting, self.n_waiting = [], 0
        self._left[unanswered] = self._lengths[unanswered]
        numbers = self._put(unanswered)
        self._sums.index_fill_(0, numbers, 0)
        self._misses.index_fill_(0, numbers, 0)
        return unanswered

    def answers(self) -> Answers:
        return Answers(self._sums.tolist(), (self._misses == 0).tolist())
