"""The interface between a search and its coordinator: the space that is searched, and the outcome of each point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mergekit_calib.items.store import StoredPoint
from mergekit_calib.recipe import Point, Setting, Value


class Space(Protocol):
    """The points that can be searched, with their content keys."""

    @property
    def parents(self) -> list[Point]:
        """The parents, which are scored first; a parent has `axes` only if it is a point of the space."""

    def point(self, setting: Mapping[str, Value]) -> Point:
        """Return the point at `setting`."""

    def is_parent(self, setting: Mapping[str, Value]) -> bool:
        """Return whether the point at `setting` is a parent; parents are scored in any case."""

    def key_of(self, point: Point) -> str:
        """Return the content key: a hash of everything that the point's scores depend on."""

    def facts_of(self, point: Point) -> dict[str, Any]:
        """Return the facts that are stored with the point's item scores."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a point, on this worker or another.

    Attributes:
        point: the point.
        order: sorts outcomes by when their points were proposed; parents come first.
        stored: the item scores; None if the point failed.
        reason: why the point failed.
        n_items: how many of its documents were scored, even if the point failed.
    """

    point: Point
    order: int
    stored: StoredPoint | None = None
    reason: str | None = None
    n_items: int = 0


@dataclass(frozen=True)
class Interpolation:
    """The points from which a strategy predicts all others of the axis.

    Attributes:
        nodes: the settings of those that are scored, in the order in which each was predicted from those before it.
        is_known: whether the predictions were close enough to the scores that followed.
        went_on: whether they were not, no node is left, and the search went on in another way.
    """

    nodes: Sequence[Setting]
    is_known: bool
    went_on: bool
