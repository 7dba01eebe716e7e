"""The strategy `curve`: a few scored points predict all others on one axis, and those near the choice are scored.

The nearest published methods fit a surrogate to averages (MAP, arXiv 2406.07529). Here every item is predicted, so
every metric is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from mergekit_calib.items.store import Tables
from mergekit_calib.recipe import Axis, Setting
from mergekit_calib.search.evaluation import Evaluator
from mergekit_calib.search.protocol import Interpolation
from mergekit_calib.search.strategies.adaptive import Adaptive
from mergekit_calib.search.strategy import Strategy, search_strategy
from mergekit_calib.search.study import Evaluated, Proposal, Study
from mergekit_calib.search.surrogate.interpolation import ItemCurves
from mergekit_calib.search.surrogate.leja import leja_points
from mergekit_calib.search.surrogate.prediction_error import prediction_errors

_IN_A_ROW = 2  # this many small errors one after another end the curve: a single one may be luck
_FINEST, _COARSEST = 50, 10  # the step between candidates is between these fractions of the axis
_NEAR_CHOICE = 3  # points that are usually scored once the curve is known
_MOVE = 1.0  # a step may change an objective by this many standard errors


@search_strategy("curve")
class Curve(Strategy):
    """Score nodes until they predict the next one, then the choice and its neighbours.

    The nodes are the ends of the axis, the parents that lie on it, and Leja points. Each node is predicted from those
    before it, item by item, before it is scored. The curve is known when the last two of at least `least` nodes were
    predicted within `tolerance`. Then the sweep's rule chooses among all values, predicted or scored. Its choice is
    scored, and so are the values next to it, and a value near its choice on each split alone, until the choices stay.

    If the curve is not known by `most` nodes, the search goes on as `adaptive`.

    Attributes:
        tolerance: the largest error of a prediction, in standard errors of the scored point, in every proper score.
        least: number of nodes before the search may stop adding any.
        most: the largest number of nodes.
    """

    needs_budget: ClassVar[bool] = False
    treats_splits_alike: ClassVar[bool] = True

    tolerance: float = Field(default=0.2, gt=0, allow_inf_nan=False)
    least: int = Field(default=6, strict=True, ge=4)
    most: int = Field(default=9, strict=True, ge=4)

    @model_validator(mode="after")
    def _enough_nodes(self) -> Curve:
        if self.most < self.least:
            raise ValueError(f"most is {self.most}, below least ({self.least}): the curve could never be known")
        return self

    @classmethod
    def fits(cls, axes: Mapping[str, Axis]) -> str | None:
        """Return a message unless there is exactly one axis and it is a range."""
        if len(axes) != 1:
            return f"curve predicts one axis, and there are {len(axes)}: {', '.join(axes)}; use bayesian"
        ((name, axis),) = axes.items()
        if axis.values is None:
            return None
        if len(axis.numbers) > 1:
            low, high = min(axis.numbers), max(axis.numbers)
            ends = f"write it as `{name}: {{min: {low:g}, max: {high:g}}}`, or use grid or adaptive"
            return f"curve places its points itself, and {name} is a list of values: {ends}"
        return f"curve needs a range of numbers, such as `{name}: {{min: 0, max: 1.5}}`"

    def may_race(self, study: Study, setting: Setting) -> bool:
        """Return False for nodes: one with missing items would predict nothing."""
        return not any(node.setting == setting for node in self._nodes(study))

    def usual_points(self, axes: Mapping[str, Axis], n_parents: int) -> tuple[int, int | None, str]:
        """Return one node more than the fewest, and the points near the choice; `adaptive` may add more."""
        nodes = min(self.most, self.least + 1)
        basis = f"curve: usually {nodes} nodes, then the choice and its neighbours"
        return max(0, nodes - n_parents) + _NEAR_CHOICE, None, basis

    def interpolation(self, study: Study) -> Interpolation:
        """Return the scored nodes, in their order."""
        nodes, is_known = self._nodes(study), self._is_known(study)
        scored = [node.scored.setting for node in nodes if node.scored]
        return Interpolation(scored, is_known, not is_known and all(node.scored or node.failed for node in nodes))

    def ask(self, study: Study) -> Proposal | None:
        """Return the next node; once the curve is known, the choice or a neighbour of it."""
        if not self._is_known(study):
            waiting = [node.setting for node in self._nodes(study) if not node.scored and not node.failed]
            new = [setting for setting in waiting if setting not in study.parents and not study.has(setting)]
            if new:
                return study.start(new[0])
            return None if waiting else Adaptive().refine(study)
        return self._near_choice(study)

    def _nodes(self, study: Study) -> list[_Node]:
        """Return the nodes in their order: the ends, the parents on the axis, then Leja points."""
        ((name, axis),) = study.axes.items()
        low, high = axis.numbers
        given = sorted({low, high, *(float(parent[name]) for parent in study.parents)})
        values = leja_points(low, high, given, self.most, lambda value: float(axis.place(value)))
        scored = {e.setting[name]: e for e in study.evaluated if not e.stopped}
        failed = [failure.setting for failure in study.failures.values()]
        failed = [setting for setting in failed if setting not in study.parents] + study.failed_parents
        return [_Node({name: value}, scored.get(value), {name: value} in failed) for value in values]

    def _is_known(self, study: Study) -> bool:
        """Return whether two nodes in a row were predicted well, with at least `least` nodes scored by then."""
        nodes = self._nodes(study)
        assert study.evaluator is not None
        n_good = 0
        for i, node in enumerate(nodes):
            before = [earlier for earlier in nodes[:i] if earlier.scored]
            if node.scored is None and not node.failed:
                return False  # a later one would not be predicted from all before it
            if node.scored is None or len(before) < 2:
                continue
            error = _error(study.evaluator, before, node)
            n_good = n_good + 1 if error < self.tolerance else 0
            if n_good >= _IN_A_ROW and len(before) + 1 >= self.least:
                return True
        return False

    def _near_choice(self, study: Study) -> Proposal | None:
        """Return a choice of the rule that is not scored, or a value next to the first; None if all are scored."""
        ((name, axis),) = study.axes.items()
        known = _Known(study, [node for node in self._nodes(study) if node.scored])
        step, choices = known.choices()
        taken = [*known.scored, *known.failed, *(float(setting[name]) for setting in study.running)]
        wanted = [choices[0]] if choices[0] not in taken else []
        for neighbour in (choices[0] - step, choices[0] + step):
            is_near = any(abs(value - neighbour) <= step / 2 for value in taken)
            if known.low <= neighbour <= known.high and not is_near:
                wanted.append(float(axis.place(neighbour)))
        # Of a split's choice, a point within a step tells enough.
        wanted += [c for c in choices[1:] if all(abs(c - value) > step * (1 + 1e-9) for value in (*taken, *wanted))]
        setting = next((s for s in ({name: value} for value in wanted) if not study.has(s)), None)
        return None if setting is None else study.start(setting)


@dataclass(frozen=True)
class _Node:
    setting: Setting
    scored: Evaluated | None
    failed: bool

    @property
    def value(self) -> float:
        return float(next(iter(self.setting.values())))


class _Known:
    """The axis once its curve is known: scored points, and predictions between the outermost nodes.

    Args:
        study: the points so far.
        nodes: the scored nodes.
    """

    def __init__(self, study: Study, nodes: Sequence[_Node]) -> None:
        ((name, self._axis),) = study.axes.items()
        self._study = study
        self.scored = {float(e.setting[name]): e for e in study.evaluated if not e.stopped}
        self.failed = {float(failure.setting[name]) for failure in study.failures.values()} - self.scored.keys()
        self._curves = ItemCurves.through(list(self.scored), [e.tables for e in self.scored.values()])
        self.low, self.high = min(node.value for node in nodes), max(node.value for node in nodes)

    def choices(self) -> tuple[float, list[float]]:
        """Return the step between candidates, and what the rule chooses: as the sweep does, then on each split.

        The candidates are the scored points, and values around those that the rule chooses at the coarsest step.
        """
        steps = nice_steps((self.high - self.low) / _FINEST, (self.high - self.low) / _COARSEST)
        coarse = self._choices(self._multiples(steps[0]))
        step = self._resolution(coarse[0], steps)
        near = [v for v in self._multiples(step) if any(abs(v - choice) < 1.5 * steps[0] for choice in coarse)]
        return step, self._choices(near)

    def _choices(self, values: Sequence[float]) -> list[float]:
        """Return what the rule chooses among the scored points and `values`, which are predicted."""
        assert self._study.choose is not None
        every = sorted({*self.scored, *values} - self.failed)
        roles = [self.scored[value].role if value in self.scored else None for value in every]
        return [every[i] for i in self._study.choose([self._tables(value) for value in every], roles)]

    def _resolution(self, centre: float, steps: Sequence[float]) -> float:
        """Return the largest step from `centre` that changes no objective by more than a standard error."""
        evaluator = self._study.evaluator
        assert evaluator is not None
        here = evaluator.evaluate(self._tables(centre))
        allowed = _MOVE * here.replicates.std(axis=0, ddof=1)
        for step in steps[:-1]:
            sides = [value for value in (centre - step, centre + step) if self.low <= value <= self.high]
            moves = [np.abs(evaluator.evaluate(self._curves.at(side)).values - here.values) for side in sides]
            if all((move <= allowed).all() for move in moves):
                return step
        return steps[-1]

    def _multiples(self, step: float) -> list[float]:
        """Return the multiples of `step` between the outermost nodes."""
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [float(self._axis.place(round(i * step, 10))) for i in range(first, last + 1)]

    def _tables(self, value: float) -> Tables:
        return self.scored[value].tables if value in self.scored else self._curves.at(value)


def nice_steps(least: float, most: float) -> list[float]:
    """Return the steps of the form 1, 2 or 5 × 10^k between two widths, the largest first; at least one.

    Args:
        least: the least width, above 0.
        most: the largest width.
    """
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    every = sorted({digit * 10.0**power for power in powers for digit in (1, 2, 5)}, reverse=True)
    return [s for s in every if least <= s <= most] or [max(s for s in every if s <= most)]


def _curves(nodes: Sequence[_Node]) -> ItemCurves:
    return ItemCurves.through([node.value for node in nodes], [node.scored.tables for node in nodes if node.scored])


def _error(evaluator: Evaluator, before: Sequence[_Node], node: _Node) -> float:
    """Return the largest error of a node's scores, predicted from the nodes before it, in standard errors."""
    assert node.scored is not None
    errors = prediction_errors(evaluator, _curves(before).at(node.value), node.scored.tables)
    return max(errors.values(), default=math.inf)
