"""One forward pass over a part of a prefix tree: its tokens, what they attend to, and where answers are read."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

RUN_COST = 2000
"""The overhead of computing attention for one more run, expressed as a number of (query, key) pairs."""


@dataclass(frozen=True)
class Run:
    """Consecutive tokens of a step whose attention is computed together.

    Attributes:
        start: index of the run's first token in the step.
        end: index after its last token.
        path: indices of the step's tokens before `start` that are ancestors of a token in the run.
        position: the lowest position, in its sequence, of a token in the run.
    """

    start: int
    end: int
    path: IntArray
    position: int


@dataclass(frozen=True)
class Step:
    """One forward pass over n packed tokens; the output head reads m of them, for k log-probabilities.

    Attributes:
        past: number of tokens before the step, which the cache must hold.
        tokens: (n,) token ids, in depth-first order of the tree.
        positions: (n,) their positions in the sequences that they belong to.
        ends: (n,) token i attends to token j if j ≤ i < ends[j]; j is then i itself or its ancestor.
        kept: whether the cache keeps these tokens, because later steps continue from them.
        reads: (m,) increasing indices into `tokens` at which the output head is applied.
        rows: (k,) index into `reads` of each log-probability.
        targets: (k,) the token that each log-probability belongs to.
        requests: (k,) the number of the request that asks for each.
    """

    past: int
    tokens: IntArray
    positions: IntArray
    ends: IntArray
    kept: bool
    reads: IntArray
    rows: IntArray
    targets: IntArray
    requests: IntArray

    @property
    def is_path(self) -> bool:
        """Whether every token is an ancestor of the next, as in an ordinary sequence."""
        return bool((self.ends == len(self.tokens)).all())

    @functools.cached_property
    def runs(self) -> tuple[Run, ...]:
        """The step's cheapest division into runs."""
        return cheapest_runs(self)


def cheapest_runs(step: Step, run_cost: int = RUN_COST) -> tuple[Run, ...]:
    """Divide a step into runs that begin where branches begin, at the least total cost.

    The cost of a run is the number of (query, key) pairs that it computes, masked ones included, plus `run_cost`. Many
    short runs compute few masked pairs; a few long runs have little overhead.

    Args:
        step: the step to divide.
        run_cost: the overhead of a run, as a number of pairs.

    Returns:
        The runs in order; together they hold every token of the step once.
    """
    n, index = len(step.tokens), np.arange(len(step.tokens))
    starts = np.flatnonzero(np.r_[True, step.ends[:-1] == index[1:]])
    paths = [np.flatnonzero(step.ends[:start] > start) for start in starts]
    n_earlier_keys = step.past + np.array([len(path) for path in paths])
    # Dynamic programming over the bounds between branches: for the tokens before each bound, the least cost of dividing
    # them, and the start (its index in `starts`) of the last run in that division.
    costs, last_starts = [0.0], []
    for bound in (*starts[1:], n):
        lengths = bound - starts[: len(costs)]
        cost = np.array(costs) + lengths * (n_earlier_keys[: len(costs)] + lengths) + run_cost
        last_starts.append(int(cost.argmin()))
        costs.append(float(cost[last_starts[-1]]))
    runs: list[Run] = []
    last = len(starts)
    while last:
        begin, end = last_starts[last - 1], int(starts[last]) if last < len(starts) else n
        start = int(starts[begin])
        runs.append(Run(start, end, paths[begin], int(step.positions[start:end].min())))
        last = begin
    return tuple(reversed(runs))
