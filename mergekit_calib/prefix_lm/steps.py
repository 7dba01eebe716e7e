"""One forward pass over a part of a prefix tree, as data: its tokens, what they see, and where answers are read."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_RUN_COSTS = 2000  # what a run of its own costs, in pairs of a token and a token that it attends to


@dataclass(frozen=True)
class Run:
    """Neighbouring tokens of a step, start ≤ i < end, and what they see before them.

    Attributes:
        path: indices of the step's tokens before `start` that are ancestors of a token in it.
        position: the lowest of their positions.
    """

    start: int
    end: int
    path: Ints
    position: int


@dataclass(frozen=True)
class Step:
    """One forward pass.

    Attributes:
        past: how many tokens of the path before it the cache must hold.
        tokens: (n,) in depth-first order of the tree.
        positions: (n,) their places in the sequences they belong to.
        ends: (n,) token j is i itself or an ancestor of it if j ≤ i < ends[j].
        kept: whether the next steps go on from here, so that the cache keeps these tokens.
        reads: (m,) increasing indices into `tokens`, where logits are read.
        rows: (k,) index into `reads` of every log-probability that is asked for;
        targets: (k,) of which token;
        requests: (k,) and for which request.
    """

    past: int
    tokens: Ints
    positions: Ints
    ends: Ints
    kept: bool
    reads: Ints
    rows: Ints
    targets: Ints
    requests: Ints

    @property
    def is_path(self) -> bool:
        """Whether every token is an ancestor of the next, as in an ordinary sequence."""
        return bool((self.ends == len(self.tokens)).all())

    @functools.cached_property
    def runs(self) -> tuple[Run, ...]:
        """The step cut where a branch begins, so that tokens are taken against few that they do not attend to.

        The cheapest of all such cuts: a run costs the pairs of its tokens and those that one of them sees.
        """
        n, index = len(self.tokens), np.arange(len(self.tokens))
        starts = np.flatnonzero(np.r_[True, self.ends[:-1] == index[1:]])
        paths = [np.flatnonzero(self.ends[:start] > start) for start in starts]
        seen = self.past + np.array([len(path) for path in paths])
        costs, first = [0.0], []  # of the best cut of what is before each bound, and the start of its last run
        for bound in (*starts[1:], n):
            lengths = bound - starts[: len(costs)]
            cost = np.array(costs) + lengths * (seen[: len(costs)] + lengths) + _RUN_COSTS
            first.append(int(cost.argmin()))
            costs.append(float(cost[first[-1]]))
        runs: list[Run] = []
        last = len(starts)
        while last:
            begin, end = first[last - 1], int(starts[last]) if last < len(starts) else n
            start = int(starts[begin])
            runs.append(Run(start, end, paths[begin], int(self.positions[start:end].min())))
            last = begin
        return tuple(reversed(runs))
