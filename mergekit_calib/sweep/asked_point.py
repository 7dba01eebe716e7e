"""A point that a person asks for after a sweep: found among its points, or scored as they were."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from mergekit_calib.errors import CalibError, near_names
from mergekit_calib.items.store import StoredPoint
from mergekit_calib.recipe import Point, Setting, Value
from mergekit_calib.results.decision import Decision
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.results.names import point_name
from mergekit_calib.search.protocol import Outcome
from mergekit_calib.sweep.prepared import Prepared

_NEXT_AXIS = re.compile(r",(?=[^,=]+=)")


@dataclass(frozen=True)
class AskedPoint:
    """A point that was asked for.

    Attributes:
        point: the point.
    """

    point: Point

    @classmethod
    def named(cls, text: str, prepared: Prepared, frontier: Frontier) -> AskedPoint:
        """Return the point that a person means.

        Args:
            text: a parent's role, a point's id or name, or settings as `λ=0.3,density=0.5`; `lambda` is another name
                of λ. An axis over blocks or kinds may be given one value, for all of them.
            prepared: the sweep.
            frontier: its result.

        Raises:
            CalibError: there is no such point on the sweep's axes.
        """
        parents = {parent.role: parent for parent in prepared.parents}
        if text.strip() in parents:
            return cls(parents[text.strip()])
        wanted = _squeezed(text)
        for result in frontier.points:
            if wanted in (_squeezed(result.id), _squeezed(result.name)):
                return cls(parents[result.role] if result.role else prepared.point(result.axes))
        setting = _setting(text, prepared, _examples(frontier))
        parent = next((parent for parent in prepared.parents if parent.axes == setting), None)
        return cls(parent or prepared.point(setting))

    @classmethod
    def of_decision(cls, decision: Decision, prepared: Prepared) -> AskedPoint:
        """Return the point that was decided for.

        Raises:
            CalibError: the recipe has other axes now.
        """
        parents = {parent.id: parent for parent in prepared.parents}
        if decision.point in parents:
            return cls(parents[decision.point])
        if decision.axes.keys() != prepared.sweep.axes.keys():
            raise CalibError(
                f"{prepared.folder.calibration / 'decision.yml'} decides for {point_name(str(decision.point))}, which "
                f"is no point of this sweep's axes ({', '.join(prepared.sweep.axes)}); let the recipe's rule choose "
                f"with `mergekit-calib write {prepared.folder.path} --rule recipe`, or remove that file"
            )
        return cls(prepared.point(decision.axes))

    @property
    def decision(self) -> Decision:
        """The decision for this point."""
        return Decision(point=self.point.id, axes=self.point.axes)

    def outcome(self, prepared: Prepared, progress: Progress) -> Outcome:
        """Return the point with its item scores; score it if there are none.

        Args:
            prepared: the sweep, whose folder this process has joined.
            progress: receives what is done with it.

        Raises:
            CalibError: it cannot be merged or scored.
        """
        key = prepared.key_of(self.point)
        stored = prepared.folder.items.load(key)
        if stored is None:
            stored = _score(self.point, prepared, progress)
            prepared.folder.items.save(key, stored, prepared.facts_of(self.point))
        return Outcome(self.point, 0, stored, n_items=stored.n_items)


def _score(point: Point, prepared: Prepared, progress: Progress) -> StoredPoint:
    progress.point_started(point.id)
    scorer, started_at = prepared.scorer(), time.perf_counter()
    with scorer.at(point) as ready:
        merged_at = time.perf_counter()
        tables = ready.score(None, progress.scoring)
        seconds = {"merge": merged_at - started_at, "score": time.perf_counter() - merged_at}
        digest = ready.digest
    scorer.discard()
    return StoredPoint(point.id, tables, digest, seconds)


def _setting(text: str, prepared: Prepared, examples: str) -> Setting:
    """Return the setting in `text`, with a value for every axis."""
    sweep = prepared.sweep
    members = {name: list(family.axes) for name, family in sweep.families.items()}
    setting: Setting = {}
    for part in _NEXT_AXIS.split(text):
        name, equals, given = (each.strip() for each in part.partition("="))
        name = "lambda" if name == "λ" else name
        names = members.get(name, [name])
        if not equals or not given or not set(names) <= sweep.axes.keys():
            near = near_names(name, [*sweep.axes, *members, *sweep.parent_models])
            raise CalibError(f"{text!r} is no point of this sweep{near}; its points are named as {examples}")
        for each in names:
            setting[each] = _value(each, given, prepared)
    if missing := [name for name in sweep.axes if name not in setting]:
        raise CalibError(f"{text!r} has no value of {', '.join(missing)}; points are named as {examples}")
    return {name: setting[name] for name in sweep.axes}


def _value(name: str, given: str, prepared: Prepared) -> Value:
    axis = prepared.sweep.axes[name]
    shown = "λ" if name == "lambda" else name
    if not axis.numbers:
        if given not in axis.levels:
            raise CalibError(f"{shown} has no value {given!r}; there are {', '.join(map(str, axis.levels))}")
        return given
    try:
        number = float(given.replace("−", "-"))
    except ValueError:
        raise CalibError(f"{shown} = {given!r} is not a number") from None
    of_parents = [value for parent in prepared.parents if isinstance(value := parent.axes.get(name), (int, float))]
    low, high = min([*axis.numbers, *of_parents]), max([*axis.numbers, *of_parents])
    if not low <= number <= high:
        raise CalibError(
            f"{shown} = {given} is outside of the sweep, whose {shown} goes from {low:g} to {high:g}; widen "
            f"`calibration.axes.{name}` in the recipe and run the sweep again: it scores the new points only"
        )
    return next((v for v in axis.numbers if v == number), int(number) if _all_whole(axis.levels, number) else number)


def _all_whole(values: Iterable[Value], number: float) -> bool:
    """Return whether an axis counts something, as layers, and a number can be such a count."""
    return number.is_integer() and all(isinstance(value, int) for value in values)


def _examples(frontier: Frontier) -> str:
    """Return how points are named, for a message."""
    names = [point.name for point in frontier.complete_points]
    return ", ".join(dict.fromkeys([*frontier.models, *names[-2:]]))


def _squeezed(name: str) -> str:
    """Return a point's name as its id is written, without the spaces that people put between its parts."""
    text = re.sub(r"\s*([=,])\s*", r"\1", name.strip()).replace("−", "-")
    return re.sub(r"(^|,)λ(?==|_)", r"\1lambda", text)
