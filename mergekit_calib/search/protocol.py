"""What a search is over, and what comes of its points: all that it and its coordinator say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mergekit_calib.items.store import StoredPoint
from mergekit_calib.recipe import Point, Value


class Space(Protocol):
    """What can be searched, and how its points are told apart."""

    @property
    def parents(self) -> list[Point]:
        """Scored before all else; those that stand in the space have their axes."""

    def point(self, setting: Mapping[str, Value]) -> Point:
        """The point at `setting`."""

    def is_parent(self, setting: Mapping[str, Value]) -> bool:
        """Whether the point at `setting` is a parent, which is scored anyway."""

    def key_of(self, point: Point) -> str:
        """Of everything that the point's scores depend on."""

    def facts_of(self, point: Point) -> dict[str, Any]:
        """What is written beside its scores."""


@dataclass(frozen=True)
class Outcome:
    """What came of a point, on whichever worker.

    Attributes:
        order: points in this order are in the order in which they were proposed, parents first.
        stored: its item scores; None where it failed, for `reason`.
        n_items: how many documents of it were scored, also where it failed.
    """

    point: Point
    order: int
    stored: StoredPoint | None = None
    reason: str | None = None
    n_items: int = 0
