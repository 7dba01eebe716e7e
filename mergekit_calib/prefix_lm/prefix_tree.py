"""The prefix tree of many token sequences, and the steps that run each shared prefix once.

This module knows token ids only, neither text nor torch.

The tree is run depth first, in steps. A step is one packed sequence of limited length; its tokens attend to the prefix
that the cache holds and to their own ancestors in the step. Packing whole subtrees into one sequence needs no padding
(compare DeFT, Yao et al. 2024, and Hydragen, Juravsky et al. 2024). A long prefix that a subtree shares (a trunk)
gets steps of its own, and the cache keeps it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from mergekit_calib.prefix_lm.steps import IntArray, Step

# A shorter prefix that a subtree shares is not a trunk: it is run again in each step of the subtree.
_MIN_TRUNK_TOKENS = 32


@dataclass
class TokenRequests:
    """Requests for the log-probability of a continuation, token by token, after a context.

    The input of a request is its context and all but the last token of its continuation. An input that several
    requests share is kept once.

    Attributes:
        n_cut: number of requests that were longer than allowed and lost their beginnings.
    """

    _inputs: dict[bytes, list[int]] = field(default_factory=dict)
    _continuations: list[IntArray] = field(default_factory=list)
    _steps: dict[int, list[Step]] = field(default_factory=dict)
    n_cut: int = 0

    def add(self, context: Iterable[int], continuation: Iterable[int], max_length: int) -> None:
        """Add a request for `continuation` after `context`.

        Args:
            context: token ids, at least one.
            continuation: token ids, at most `max_length` of them.
            max_length: the most tokens of an input; a longer one loses its beginning.

        Raises:
            ValueError: `context` is empty, so the first token of the continuation has nothing to follow.
        """
        targets = np.fromiter(continuation, dtype=np.int64)
        whole = np.concatenate([np.fromiter(context, dtype=np.int64), targets])
        if len(whole) == len(targets):
            raise ValueError("the context has no tokens; it needs at least one, such as a BOS token")
        window = whole[-(max_length + 1) : -1]
        self.n_cut += len(whole) > max_length + 1
        # Big-endian, so that bytes sort as the tokens do.
        self._inputs.setdefault(window.astype(">u4").tobytes(), []).append(len(self._continuations))
        self._continuations.append(targets)
        self._steps.clear()

    def __len__(self) -> int:
        return len(self._continuations)

    @property
    def largest(self) -> int:
        """The largest token id; −1 if there are no requests."""
        ends = (int(continuation.max(initial=-1)) for continuation in self._continuations)
        inputs = (int(np.frombuffer(key, ">u4").max(initial=0)) for key in self._inputs)
        return max(itertools.chain(ends, inputs), default=-1)

    @property
    def longest(self) -> int:
        """The number of tokens in the longest input."""
        return max((len(key) for key in self._inputs), default=0) // 4

    @property
    def n_asked(self) -> int:
        """The number of input tokens of all requests, each counted as if it were run alone."""
        return sum(len(key) // 4 * len(requests) for key, requests in self._inputs.items())

    @property
    def n_distinct(self) -> int:
        """The number of nodes of the prefix tree: input tokens, each shared prefix counted once."""
        tree = self._tree(self._inputs)
        return int(tree.lengths.sum() - tree.shared.sum())

    @property
    def input_lengths(self) -> list[int]:
        """The number of tokens of each distinct input."""
        return [len(key) // 4 for key in self._inputs]

    @property
    def lengths(self) -> IntArray:
        """(n_requests,) the number of tokens in each continuation."""
        return np.array([len(c) for c in self._continuations], dtype=np.int64)

    def steps(self, max_tokens: int) -> list[Step]:
        """Return the steps that answer every request, in order; they are computed once for each `max_tokens`.

        Args:
            max_tokens: the most tokens in a step.
        """
        if max_tokens not in self._steps:
            self._steps[max_tokens] = _steps(self._tree(self._inputs), max_tokens)
        return self._steps[max_tokens]

    def steps_for(self, numbers: IntArray, max_tokens: int) -> list[Step]:
        """Return the steps that answer only some requests, in order.

        Args:
            numbers: (k,) the numbers of those requests, from 0 in the order in which they were added.
            max_tokens: the most tokens in a step.
        """
        wanted = set(numbers.tolist())
        inputs = {key: [i for i in requests if i in wanted] for key, requests in self._inputs.items()}
        return _steps(self._tree({key: requests for key, requests in inputs.items() if requests}), max_tokens)

    def only(self, numbers: IntArray) -> TokenRequests:
        """Return some of the requests alone, in order.

        Args:
            numbers: (k,) the numbers of those requests, from 0 in the order in which they were added.
        """
        place = {int(number): i for i, number in enumerate(numbers)}
        inputs = {key: [place[i] for i in given if i in place] for key, given in self._inputs.items()}
        kept = {key: given for key, given in inputs.items() if given}
        return TokenRequests(kept, [self._continuations[int(number)] for number in numbers])

    def _tree(self, requests_by_input: dict[bytes, list[int]]) -> _PrefixTree:
        keys = sorted(requests_by_input)
        inputs = [np.frombuffer(key, dtype=">u4").astype(np.int64) for key in keys]
        shared = [0, *(_n_shared(a, b) for a, b in itertools.pairwise(inputs))]
        reads = []
        for key, tokens in zip(keys, inputs, strict=True):
            continuations = [(i, self._continuations[i]) for i in requests_by_input[key]]
            reads.append(
                _Reads(
                    np.concatenate([np.arange(len(tokens) - len(c), len(tokens)) for _, c in continuations]),
                    np.concatenate([c for _, c in continuations]),
                    np.concatenate([np.full(len(c), i) for i, c in continuations]),
                )
            )
        return _PrefixTree(inputs, np.array([len(x) for x in inputs]), np.array(shared), reads)


@dataclass(frozen=True)
class _Reads:
    """The k log-probabilities that are read in one input.

    Attributes:
        positions: (k,) the position in the input after which each is read.
        targets: (k,) the token that each belongs to.
        requests: (k,) the number of the request that asks for each.
    """

    positions: IntArray
    targets: IntArray
    requests: IntArray

    def between(self, start: int, stop: int) -> _Reads:
        """Return those at positions from `start` up to, not including, `stop`."""
        inside = (self.positions >= start) & (self.positions < stop)
        return _Reads(self.positions[inside], self.targets[inside], self.requests[inside])


@dataclass(frozen=True)
class _PrefixTree:
    """A prefix tree as the sorted list of its n distinct inputs.

    Attributes:
        inputs: the token ids of each input, in sorted order.
        lengths: (n,) their lengths.
        shared: (n,) how many of its first tokens each input shares with the one before it; 0 for the first.
        reads: the log-probabilities that are read in each input.
    """

    inputs: list[IntArray]
    lengths: IntArray
    shared: IntArray
    reads: list[_Reads]


def _steps(tree: _PrefixTree, max_tokens: int) -> list[Step]:
    return list(_DepthFirstWalk(tree, max_tokens).subtree(0, len(tree.inputs), 0)) if tree.inputs else []


class _DepthFirstWalk:
    """Divides a tree into steps of at most `max_tokens` tokens."""

    def __init__(self, tree: _PrefixTree, max_tokens: int) -> None:
        self._tree, self._max_tokens = tree, max_tokens

    def subtree(self, first: int, last: int, past: int) -> Iterator[Step]:
        """Yield the steps of inputs `first` to `last` (exclusive), whose first `past` tokens the cache holds."""
        tree = self._tree
        if tree.lengths[last - 1] == past:  # a single input, and the cache holds all of it
            return
        if self._fits(first, last, past):
            yield self._packed(first, last, past)
            return
        common = int(tree.shared[first + 1 : last].min()) if last - first > 1 else int(tree.lengths[first])
        if common - past >= _MIN_TRUNK_TOKENS or last - first == 1:
            for start in range(past, common, self._max_tokens):
                yield self._trunk(first, last, start, min(start + self._max_tokens, common))
            past = common
            if last - first == 1:
                return
        # Neighbouring branches share a step as long as they fit into it.
        branches = [first, *(first + 1 + np.flatnonzero(tree.shared[first + 1 : last] == common)), last]
        begun = 0
        for i in range(1, len(branches)):
            if i + 1 < len(branches) and self._fits(branches[begun], branches[i + 1], past):
                continue
            yield from self.subtree(int(branches[begun]), int(branches[i]), past)
            begun = i

    def _fits(self, first: int, last: int, past: int) -> bool:
        """Return whether the tokens of a subtree, after the first `past`, fit into one step."""
        tree = self._tree
        n_tokens = tree.lengths[first] - past
        n_tokens += (tree.lengths[first + 1 : last] - np.maximum(tree.shared[first + 1 : last], past)).sum()
        return bool(n_tokens <= self._max_tokens)

    def _trunk(self, first: int, last: int, start: int, stop: int) -> Step:
        """Return the step over positions `start` to `stop` (exclusive) of a prefix that a whole subtree shares."""
        n = stop - start
        reads = [(r, r.positions - start) for r in (x.between(start, stop) for x in self._tree.reads[first:last])]
        tokens = self._tree.inputs[first][start:stop]
        return _step(start, tokens, np.arange(start, stop), np.full(n, n), True, reads)

    def _packed(self, first: int, last: int, past: int) -> Step:
        """Return one step over a whole subtree, without its first `past` positions."""
        tree = self._tree
        path = np.zeros(
            int(tree.lengths[first:last].max()), dtype=np.int64
        )  # position → index in the step of the current input's token
        tokens, positions, reads = [], [], []
        ends = np.zeros(0, dtype=np.int64)
        n = 0
        for i in range(first, last):
            start = past if i == first else max(int(tree.shared[i]), past)
            stop = int(tree.lengths[i])
            if i > first:  # the last input's tokens beyond `start` have no more descendants
                closed = path[start : int(tree.lengths[i - 1])]
                ends[closed] = n
            path[start:stop] = np.arange(n, n + stop - start)
            tokens.append(tree.inputs[i][start:stop])
            positions.append(np.arange(start, stop))
            ends = np.concatenate([ends, np.zeros(stop - start, dtype=np.int64)])
            n += stop - start
            inside = tree.reads[i].between(past, stop)
            reads.append((inside, path[inside.positions]))
        ends[ends == 0] = n
        return _step(past, np.concatenate(tokens), np.concatenate(positions), ends, False, reads)


def _step(
    past: int,
    tokens: IntArray,
    positions: IntArray,
    ends: IntArray,
    kept: bool,
    reads: Iterable[tuple[_Reads, IntArray]],
) -> Step:
    """Return a step; `reads` holds what is read in each input, with the indices into `tokens` of its positions."""
    parts = list(reads)
    read_indices, rows = np.unique(np.concatenate([indices for _, indices in parts]), return_inverse=True)
    targets = np.concatenate([part.targets for part, _ in parts])
    requests = np.concatenate([part.requests for part, _ in parts])
    return Step(past, tokens, positions, ends, kept, read_indices, rows, targets, requests)


def _n_shared(a: IntArray, b: IntArray) -> int:
    """Return how many of their first tokens `a` and `b` share."""
    n = min(len(a), len(b))
    differ = a[:n] != b[:n]
    return int(differ.argmax()) if differ.any() else n
