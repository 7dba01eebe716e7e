"""Which inputs of a scoring run begin alike, so that the beginning is run through the network once for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Tokens = tuple[int, ...]

_WORTHWHILE = 0.5  # the share of an input that must be common; less saves too little for the smaller batches it costs


@dataclass(frozen=True)
class Group:
    """Inputs that share their first `prefix` tokens; 0 where they share none that is worth keeping."""

    prefix: int
    inputs: list[Tokens]


def grouped(inputs: Sequence[Tokens], readable_from: Mapping[Tokens, int], size: int) -> list[Group]:
    """Every input once, in groups of at most `size`; those that share nothing in groups of similar length.

    Args:
        inputs: distinct token sequences.
        readable_from: input → the first position whose logits are read; a shared prefix ends at or before it.
        size: how many inputs a batch may hold.
    """
    groups: list[Group] = []
    alone: list[Tokens] = []
    current: list[Tokens] = []
    shared = 0

    def close() -> None:
        if len(current) > 1:
            groups.append(Group(shared, list(current)))
        else:
            alone.extend(current)
        current.clear()

    for tokens in sorted(inputs):
        if current:
            common = min(_common(current[0], tokens, shared), readable_from[tokens])
            if len(current) < size and common >= _WORTHWHILE * len(tokens):
                shared = common
                current.append(tokens)
                continue
            close()
        current.append(tokens)
        shared = readable_from[tokens]
    close()
    alone.sort(key=lambda tokens: (-len(tokens), tokens))
    groups += [Group(0, alone[i : i + size]) for i in range(0, len(alone), size)]
    return groups


def _common(a: Tokens, b: Tokens, at_most: int) -> int:
    """How many tokens `a` and `b` begin with alike, up to `at_most`."""
    limit = min(len(a), len(b), at_most)
    if a[:limit] == b[:limit]:
        return limit
    return next(i for i in range(limit) if a[i] != b[i])
