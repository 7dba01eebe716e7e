"""In which order to run many token sequences so that what they begin with alike is run once: no torch, no text.

The sequences form a prefix tree. It is run in steps, depth first: a step is one packed sequence of at most so many
tokens, whose tokens attend to the path that the cache holds and to their own ancestors in the step. Packing whole
subtrees into one sequence needs no padding and one forward pass (compare DeFT, Yao et al. 2024; Hydragen, Juravsky et
al. 2024); long stretches that a subtree shares go into the cache, piece by piece.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from mergekit_calib.prefix_lm.steps import Ints, Step

# Tokens that a subtree must share to be worth a step of their own, rather than being run in each of its steps.
_TRUNK = 32


@dataclass
class Requests:
    """Log-probabilities that are asked for: of each continuation, token for token, after its context.

    Inputs (a context and all but the last token of its continuation) that several requests have are kept once.

    Attributes:
        n_cut: how many requests were too long, so that their beginnings were cut off.
    """

    _inputs: dict[bytes, list[int]] = field(default_factory=dict)
    _continuations: list[Ints] = field(default_factory=list)
    _steps: dict[int, list[Step]] = field(default_factory=dict)
    n_cut: int = 0

    def add(self, context: Iterable[int], continuation: Iterable[int], max_length: int) -> None:
        """Ask for `continuation` after `context`, of which the last `max_length` + 1 tokens count.

        Raises:
            ValueError: `context` has no tokens, after which nothing can be asked for.
        """
        targets = np.fromiter(continuation, dtype=np.int64)
        whole = np.concatenate([np.fromiter(context, dtype=np.int64), targets])
        if len(whole) == len(targets):
            raise ValueError("a context of no tokens; at least one, such as a BOS token, is needed")
        window = whole[-(max_length + 1) : -1]
        self.n_cut += len(whole) > max_length + 1
        # Big-endian, so that bytes sort as the tokens do.
        self._inputs.setdefault(window.astype(">u4").tobytes(), []).append(len(self._continuations))
        self._continuations.append(targets)
        self._steps.clear()

    def __len__(self) -> int:
        return len(self._continuations)

    @property
    def longest(self) -> int:
        """How many tokens the longest input has."""
        return max((len(key) for key in self._inputs), default=0) // 4

    @property
    def lengths(self) -> Ints:
        """(n_requests,) how many log-probabilities each is the sum of."""
        return np.array([len(c) for c in self._continuations], dtype=np.int64)

    def steps(self, most: int) -> list[Step]:
        """The steps that answer every request, in order; kept, for whoever asks again.

        Args:
            most: how many tokens a step may run.
        """
        if most not in self._steps:
            self._steps[most] = _steps(self._tree(self._inputs), most)
        return self._steps[most]

    def steps_for(self, some: Ints, most: int) -> list[Step]:
        """The steps that answer only the requests of these numbers."""
        wanted = set(some.tolist())
        inputs = {key: [i for i in asked if i in wanted] for key, asked in self._inputs.items()}
        return _steps(self._tree({key: asked for key, asked in inputs.items() if asked}), most)

    def _tree(self, of: dict[bytes, list[int]]) -> _Tree:
        keys = sorted(of)
        inputs = [np.frombuffer(key, dtype=">u4").astype(np.int64) for key in keys]
        shared = [0, *(_common(a, b) for a, b in itertools.pairwise(inputs))]
        reads = []
        for key, tokens in zip(keys, inputs, strict=True):
            asked = [(i, self._continuations[i]) for i in of[key]]
            reads.append(
                _Reads(
                    np.concatenate([np.arange(len(tokens) - len(c), len(tokens)) for _, c in asked]),
                    np.concatenate([c for _, c in asked]),
                    np.concatenate([np.full(len(c), i) for i, c in asked]),
                )
            )
        return _Tree(inputs, np.array([len(x) for x in inputs]), np.array(shared), reads)


@dataclass(frozen=True)
class _Reads:
    """Of one input: (k,) positions, target tokens and requests of the log-probabilities that are asked for."""

    positions: Ints
    targets: Ints
    requests: Ints

    def between(self, start: int, stop: int) -> _Reads:
        inside = (self.positions >= start) & (self.positions < stop)
        return _Reads(self.positions[inside], self.targets[inside], self.requests[inside])


@dataclass(frozen=True)
class _Tree:
    """Distinct inputs in the tokens' order: (n,) their lengths, and how many tokens each shares with the one before."""

    inputs: list[Ints]
    lengths: Ints
    shared: Ints
    reads: list[_Reads]


def _steps(tree: _Tree, most: int) -> list[Step]:
    return list(_Walk(tree, most).subtree(0, len(tree.inputs), 0)) if tree.inputs else []


class _Walk:
    """The steps over a tree, of at most so many tokens each."""

    def __init__(self, tree: _Tree, most: int) -> None:
        self._tree, self._most = tree, most

    def subtree(self, first: int, last: int, past: int) -> Iterator[Step]:
        """Inputs `first` to `last` (exclusive), which share `past` tokens that the cache holds."""
        tree = self._tree
        if tree.lengths[last - 1] == past:  # one input, which the cache holds whole
            return
        if self._fits(first, last, past):
            yield self._packed(first, last, past)
            return
        common = int(tree.shared[first + 1 : last].min()) if last - first > 1 else int(tree.lengths[first])
        if common - past >= _TRUNK or last - first == 1:
            for start in range(past, common, self._most):
                yield self._trunk(first, last, start, min(start + self._most, common))
            past = common
            if last - first == 1:
                return
        # Neighbouring branches share steps for as long as they fit.
        branches = [first, *(first + 1 + np.flatnonzero(tree.shared[first + 1 : last] == common)), last]
        begun = 0
        for i in range(1, len(branches)):
            if i + 1 < len(branches) and self._fits(branches[begun], branches[i + 1], past):
                continue
            yield from self.subtree(int(branches[begun]), int(branches[i]), past)
            begun = i

    def _fits(self, first: int, last: int, past: int) -> bool:
        """Whether a subtree is one step."""
        tree = self._tree
        n_tokens = tree.lengths[first] - past
        n_tokens += (tree.lengths[first + 1 : last] - np.maximum(tree.shared[first + 1 : last], past)).sum()
        return bool(n_tokens <= self._most)

    def _trunk(self, first: int, last: int, start: int, stop: int) -> Step:
        n = stop - start
        reads = [(r, r.positions - start) for r in (x.between(start, stop) for x in self._tree.reads[first:last])]
        tokens = self._tree.inputs[first][start:stop]
        return _step(start, tokens, np.arange(start, stop), np.full(n, n), True, reads)

    def _packed(self, first: int, last: int, past: int) -> Step:
        tree = self._tree
        path = np.zeros(int(tree.lengths[first:last].max()), dtype=np.int64)  # position → its token's index, for now
        tokens, positions, reads = [], [], []
        ends = np.zeros(0, dtype=np.int64)
        n = 0
        for i in range(first, last):
            start = past if i == first else max(int(tree.shared[i]), past)
            stop = int(tree.lengths[i])
            if i > first:  # what the last input had beyond `start` has no more descendants
                closed = path[start : int(tree.lengths[i - 1])]
                ends[closed] = n
            path[start:stop] = np.arange(n, n + stop - start)
            tokens.append(tree.inputs[i][start:stop])
            positions.append(np.arange(start, stop))
            ends = np.concatenate([ends, np.zeros(stop - start, dtype=np.int64)])
            n += stop - start
            some = tree.reads[i].between(past, stop)
            reads.append((some, path[some.positions]))
        ends[ends == 0] = n
        return _step(past, np.concatenate(tokens), np.concatenate(positions), ends, False, reads)


def _step(
    past: int, tokens: Ints, positions: Ints, ends: Ints, kept: bool, reads: Iterable[tuple[_Reads, Ints]]
) -> Step:
    """A step from its tokens and what is read: each part of it with the indices, into `tokens`, of its positions."""
    parts = list(reads)
    at, rows = np.unique(np.concatenate([indices for _, indices in parts]), return_inverse=True)
    targets = np.concatenate([some.targets for some, _ in parts])
    requests = np.concatenate([some.requests for some, _ in parts])
    return Step(past, tokens, positions, ends, kept, at, rows, targets, requests)


def _common(a: Ints, b: Ints) -> int:
    """How many tokens `a` and `b` begin with alike."""
    n = min(len(a), len(b))
    differ = a[:n] != b[:n]
    return int(differ.argmax()) if differ.any() else n
