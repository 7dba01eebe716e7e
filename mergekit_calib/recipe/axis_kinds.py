"""Axis kinds: axes that stand for several, as `lambda: {blocks: 6, min: 0, max: 1}` stands for six.

A kind is one class with one decorator:

    @axis_kind("blocks")
    class Blocks(AxisKind):
        blocks: int
        def expand(self, name, axis, layers): ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mergekit_calib.errors import RecipeError, near_names, option_problems
from mergekit_calib.recipe.axes import Axis
from mergekit_calib.recipe.placeholders import PlaceholderError, replace_axis


@dataclass(frozen=True)
class Layers:
    """The models' layers, from which an axis kind makes its axes.

    Attributes:
        count: how many layers they have.
        within: a string that the names of all the layers' tensors contain, and no other tensor's name; None if there is
            none.
    """

    count: int
    within: str | None


@dataclass(frozen=True)
class Expansion:
    """The axes that one axis stands for, and what the recipe has in its place.

    Attributes:
        axes: the axes that the search varies instead.
        value: returns the structure that replaces a placeholder which names the axis. Its argument is a function from
            an expression in the names of `axes` to the placeholder with that expression instead of the axis.
    """

    axes: dict[str, Axis]
    value: Callable[[Callable[[str], str]], Any]


class AxisKind(BaseModel, ABC):
    """A kind of axis that stands for several; its fields are the options that the YAML gives beside the values.

    Attributes:
        name: the option that asks for this kind; set by `axis_kind`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]

    @abstractmethod
    def expand(self, name: str, axis: Axis, layers: Layers) -> Expansion:
        """Return the axes that the axis stands for.

        Args:
            name: the axis's name.
            axis: its values or its range, and its options.
            layers: the models' layers.

        Raises:
            ValueError: the options do not fit the axis or the models; the message is shown after the axis's key.
        """


AXIS_KINDS: dict[str, type[AxisKind]] = {}
"""Name → registered axis kind."""

_Kind = TypeVar("_Kind", bound=type[AxisKind])


def axis_kind(name: str) -> Callable[[_Kind], _Kind]:
    """Return a decorator that registers an `AxisKind` under a name.

    Args:
        name: the option that asks for the kind, one of its fields.
    """

    def register(kind: _Kind) -> _Kind:
        kind.name = name
        AXIS_KINDS[name] = kind
        return kind

    return register


def expand_axis(
    name: str, axis: Axis, layers: Layers, kinds: Mapping[str, type[AxisKind]], source: str | None
) -> Expansion:
    """Return the expansion of an axis that has options of an axis kind.

    Args:
        name: the axis's name.
        axis: the axis.
        layers: the models' layers.
        kinds: name → kind.
        source: the recipe's file, for messages.

    Raises:
        RecipeError: there is no such kind, or its options are wrong.
    """
    key, options = f"calibration.axes.{name}", axis.kind_options
    # A kind is asked for by its name, or by any other of its options.
    asked = [kinds[option] for option in options if option in kinds]
    asked += [kind for kind in kinds.values() if kind.model_fields.keys() & options.keys()]
    if not asked:
        first = next(iter(options))
        known = sorted({option for kind in kinds.values() for option in kind.model_fields})
        problem = f"{first!r} is not an option of an axis{near_names(first, known)}; the options are {', '.join(known)}"
        raise RecipeError(key, problem, source)
    try:
        return asked[0].model_validate(options).expand(name, axis, layers)
    except ValidationError as problems:
        raise RecipeError(key, "; ".join(option_problems(problems, asked[0].model_fields)), source) from None
    except ValueError as problem:
        raise RecipeError(key, str(problem), source) from None


def expanded_recipe(recipe: Any, name: str, expansion: Expansion, source: str | None) -> Any:
    """Return `recipe` with the expansion in place of `${name}`.

    Args:
        recipe: a recipe with placeholders.
        name: the axis's name.
        expansion: what the axis stands for.
        source: the recipe's file, for messages.

    Raises:
        RecipeError: a placeholder stands where several values cannot, or the recipe has slices, since mergekit starts
            a gradient again in each slice.
    """
    try:
        expanded = replace_axis(recipe, name, expansion.value)
    except PlaceholderError as problem:
        raise RecipeError(problem.key, problem.message, source) from None
    if expanded != recipe and ("slices" in recipe or "modules" in recipe):
        slices = "stands for values along all layers, and this recipe has slices: give each slice its own axis"
        raise RecipeError(f"calibration.axes.{name}", slices, source)
    return expanded
