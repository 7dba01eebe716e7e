"""How parents look in pictures: a colour-blind-safe colour and a marker for each, and the pictures' title."""

from __future__ import annotations

from dataclasses import dataclass

from mergekit_calib.report.figures.drawing import shortened
from mergekit_calib.results.frontier import Frontier

# Okabe and Ito's palette, with a darker yellow, and without the light blue, which is too pale for text on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#B5568F", "#9A7000", "#6A51A3", "#7A4B2A", "#5F6B6D")
_MARKERS = ("s", "D", "v", "p", "h", "*", "<", "X")
_LONGEST = 22  # characters of a role's name
_WIDTH = 36  # characters of a title's line


@dataclass(frozen=True)
class ParentLook:
    """How one parent looks in every picture of a sweep.

    Attributes:
        name: its role, shortened if it is long.
        colour: its colour.
        marker: matplotlib's name of its marker.
    """

    name: str
    colour: str
    marker: str


def parent_looks(frontier: Frontier) -> dict[str, ParentLook]:
    """Return role → look, in the order of the recipe; of more than eight parents, some look alike."""
    return {
        role: ParentLook(shortened(role, _LONGEST), _COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)])
        for i, role in enumerate(frontier.models)
    }


def heading(frontier: Frontier) -> str:
    """Return a picture's title, as `gemma-3-4b-pt → gemma-3-4b-it · linear`; shortened, and in two lines if long.

    The arrow stands only between `base` and `aligned`; other parents are joined by `+`, as many as fit into a line.
    """
    names = [shortened(model, 19) for model in frontier.models.values()]
    method = shortened(frontier.method, 24)
    if list(frontier.models) == ["base", "aligned"]:
        parents = " → ".join(names)
    else:
        shown = list(names)
        while len(shown) > 1 and len(_sum(shown, len(names))) > _WIDTH:
            shown.pop()
        parents = _sum(shown, len(names))
    return f"{parents}  ·  {method}" if len(parents) + len(method) <= _WIDTH else f"{parents}\n{method}"


def _sum(shown: list[str], count: int) -> str:
    more = [f"{count - len(shown)} more"] if len(shown) < count else []
    return " + ".join([*shown, *more])
