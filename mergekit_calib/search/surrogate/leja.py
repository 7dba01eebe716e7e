"""Where to score a curve, so that what goes through the scored values predicts all others: Leja points.

Each next node maximises the product of its distances to the nodes before it (Leja 1957; Trefethen, "Approximation
Theory and Approximation Practice", chapter 5). They crowd towards the ends as Chebyshev points do, but can be added one
by one. With evenly spaced nodes, what goes through them swings near the ends, and how many will do is not known before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

_TRIED = 2001  # places of a next node; a thousandth of the range is the finest difference between values of an axis


def leja_points(
    low: float, high: float, given: Sequence[float], n: int, place: Callable[[float], float] = float
) -> list[float]:
    """Return `n` nodes of a range: first those that are given, then Leja points.

    Args:
        low: the lower end of the range.
        high: the upper end.
        given: the first nodes, at least one.
        n: how many nodes to return, with those that are given; at least these are returned.
        place: rounds a node to a value that the axis can have.
    """
    nodes = list(given)
    tried = np.linspace(low, high, _TRIED)
    with np.errstate(divide="ignore"):
        products = sum(np.log(np.abs(tried - node)) for node in nodes)
        while len(nodes) < n:
            nodes.append(place(float(tried[int(np.argmax(products))])))
            products = products + np.log(np.abs(tried - nodes[-1]))
    return nodes
