"""Accuracy of several answers to one question: whether any of k is correct, and whether most of k are."""

from __future__ import annotations

import math


def pass_at_k(n_correct: int, n: int, k: int) -> float:
    """Return the unbiased estimate of the probability that at least one of k draws is correct, 0 to 1.

    1 − ∏ over i from n − c + 1 to n of (1 − k/i), for c correct answers among n draws (Chen et al. 2021,
    arXiv 2107.03374): the share of all subsets of k draws that hold a correct one.

    Args:
        n_correct: c, 0 to n.
        n: the number of draws.
        k: 1 to n.

    Raises:
        ValueError: a number is out of its range.
    """
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}; 1 to {n} are possible with {n} draws")
    if not 0 <= n_correct <= n:
        raise ValueError(f"{n_correct} of {n} draws cannot be correct")
    if n - n_correct < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - n_correct + 1, n + 1))


def powers_of_two(at_least: int, at_most: int) -> list[int]:
    """Return the powers of two from `at_least` to `at_most`, ascending.

    Example:
        >>> powers_of_two(1, 10)
        [1, 2, 4, 8]
    """
    return [k for k in (1 << i for i in range(at_most.bit_length())) if at_least <= k <= at_most]
