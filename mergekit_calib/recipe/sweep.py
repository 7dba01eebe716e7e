"""The YAML of a sweep: axes, placeholders, and the plain mergekit recipe of every point.

Knows text and numbers only. Whether the models exist, whether mergekit accepts a point's recipe and whether lm-eval
knows the tasks is asked by the rooms that know them, still before anything is loaded.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import yaml
from pydantic import ValidationError

from mergekit_calib.errors import RecipeError, near_names
from mergekit_calib.recipe.block import CalibrationBlock, Number
from mergekit_calib.recipe.placeholders import PlaceholderError, names_in, substitute
from mergekit_calib.recipe.short_form import (
    LAMBDA,
    SHORT_FORM,
    Ends,
    MethodSignature,
    Recipe,
    Role,
    expand_short_form,
    unknown_method,
)


@dataclass(frozen=True)
class Point:
    """One setting of all axes, so one plain mergekit recipe, so one model.

    Attributes:
        id: unique in the sweep, as `lambda=0.6`; `base` or `aligned` for a parent that stands on no axis.
        axes: axis → value.
        recipe: the plain recipe, as mergekit reads it.
        role: which parent this is, if it is one.
    """

    id: str
    axes: dict[str, Number]
    recipe: Recipe
    role: Role | None = None

    @property
    def yaml(self) -> str:
        return dump_recipe(self.recipe)


@dataclass(frozen=True)
class Sweep:
    """A sweep as the user asked for it, in the general form: a recipe with placeholders, and a calibration block.

    Attributes:
        recipe: a mergekit recipe whose numbers may be `${axis}`; the short form is expanded to this.
        calibration: the `calibration:` block.
        base, aligned: the parents, as the recipe names them.
        exact_ends: values of `lambda` at which every point is a parent by construction.
        source: the file that the YAML came from, for messages.
    """

    recipe: Recipe
    calibration: CalibrationBlock
    base: str
    aligned: str
    exact_ends: Ends
    source: str | None = None

    @property
    def method(self) -> str:
        return str(self.recipe["merge_method"])

    @cached_property
    def models(self) -> list[str]:
        """Every model that the recipe names, in order of appearance."""
        return list(dict.fromkeys(_models_named(self.recipe)))

    def with_recipe(self, **keys: Any) -> Sweep:
        """The same sweep with `keys` added to the recipe of every point."""
        return replace(self, recipe={**self.recipe, **keys})

    def point(self, axes: Mapping[str, Number]) -> Point:
        """The point at `axes`.

        Raises:
            RecipeError: a placeholder does not give a finite number there.
        """
        try:
            recipe = substitute(self.recipe, axes)
        except PlaceholderError as problem:
            raise RecipeError(problem.key, problem.message, self.source) from None
        return Point(point_id(axes), dict(axes), recipe)

    def parents(self) -> tuple[Point, Point]:
        """The two parents, each as a recipe that passes it through; on the λ axis where that is where they stand."""
        kept = ("dtype", "out_dtype", "tokenizer", "tokenizer_source", "chat_template")
        common = {key: self.recipe[key] for key in kept if key in self.recipe}

        def parent(role: Role, model: str, value: float) -> Point:
            on_axis = list(self.calibration.axes) == [LAMBDA] and self.exact_ends.get(value) == role
            axes: dict[str, Number] = {LAMBDA: value} if on_axis else {}
            recipe = {"merge_method": "passthrough", "models": [{"model": model}], **common}
            return Point(point_id(axes) if axes else role, axes, recipe, role)

        return parent("base", self.base, 0.0), parent("aligned", self.aligned, 1.0)

    def grid(self) -> Iterator[Point]:
        """Every combination of the axes' values that is not a parent by construction, in order."""
        axes = self.calibration.axes
        for values in itertools.product(*axes.values()):
            setting = dict(zip(axes, values, strict=True))
            if setting.get(LAMBDA) not in self.exact_ends:
                yield self.point(setting)


def has_calibration_block(text: str) -> bool:
    """Whether `text` is YAML with a top-level `calibration:` key. False for anything that is not a mapping."""
    if "calibration" not in text:
        return False
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        return False
    return isinstance(data, dict) and "calibration" in data


def parse_sweep(text: str, methods: Mapping[str, MethodSignature], source: str | None = None) -> Sweep:
    """Read a sweep from YAML, in either form.

    Args:
        text: a mergekit recipe with a `calibration:` block.
        methods: every merge method that mergekit has registered, by name.
        source: the file that the text came from, for messages.

    Raises:
        RecipeError: naming the key path, for anything that can be found wrong without opening a model.
    """
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise RecipeError("(whole file)", f"is not valid YAML: {problem}", source) from None
    if not isinstance(data, dict) or not isinstance(data.get("calibration"), dict):
        raise RecipeError("calibration", "expected a mapping with `axes` and `suite`", source)
    recipe = {key: value for key, value in data.items() if key != "calibration"}
    try:
        block = CalibrationBlock.model_validate(data["calibration"])
    except ValidationError as problems:
        raise _first_problem(problems, source) from None

    exact_ends: Ends = {}
    if recipe.get("merge_method") == SHORT_FORM:
        recipe, base, aligned, exact_ends = expand_short_form(recipe, list(block.axes), methods, source)
    else:
        method = recipe.get("merge_method")
        if not isinstance(method, str) or method not in methods:
            raise RecipeError("merge_method", unknown_method(method, methods), source)
        base, aligned = _parents_of(recipe, block, source)
    _check_placeholders(recipe, block, source)
    return Sweep(recipe, block, base, aligned, exact_ends, source)


def point_id(axes: Mapping[str, Number]) -> str:
    """A readable name for a setting: `lambda=0.6,density=0.3`."""
    return ",".join(f"{name}={value:g}" for name, value in axes.items())


def dump_recipe(recipe: Recipe) -> str:
    """A recipe as YAML, keys in the order that people write them."""
    return yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=120)


def _parents_of(recipe: Recipe, block: CalibrationBlock, source: str | None) -> tuple[str, str]:
    """The parents of a general recipe: `calibration.parents`, or base_model and the one other model."""
    named = list(dict.fromkeys(_models_named(recipe)))
    if not named:
        raise RecipeError("models", "the recipe names no model", source)
    if block.parents is not None:
        for role, model in (("base", block.parents.base), ("aligned", block.parents.aligned)):
            if model not in named:
                raise RecipeError(
                    f"calibration.parents.{role}", f"{model!r} is not in the recipe{near_names(model, named)}", source
                )
        return block.parents.base, block.parents.aligned
    base = recipe.get("base_model") or named[0]
    others = [model for model in named if model != base]
    if len(others) != 1:
        raise RecipeError(
            "calibration.parents",
            f"the recipe names {len(others)} models besides {base!r}: say which two are compared, "
            "`parents: {base: …, aligned: …}`",
            source,
        )
    return str(base), others[0]


def _models_named(node: Any) -> Iterator[str]:
    """The values of `base_model` and `model` keys anywhere in a recipe."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("base_model", "model") and isinstance(value, str):
                yield value
            elif key not in ("parameters", "tokenizer", "tokenizer_source"):
                yield from _models_named(value)
    elif isinstance(node, list):
        for value in node:
            yield from _models_named(value)


def _check_placeholders(recipe: Recipe, block: CalibrationBlock, source: str | None) -> None:
    """Every placeholder has an axis, and every axis a placeholder."""
    used: set[str] = set()
    try:
        for key, names in names_in(recipe):
            for name in names:
                if name not in block.axes:
                    raise RecipeError(key, f"${{{name}}} is not an axis{_axes_hint(name, block.axes)}", source)
                used.add(name)
    except PlaceholderError as problem:
        raise RecipeError(problem.key, problem.message, source) from None
    for axis in block.axes:
        if axis not in used:
            raise RecipeError(
                f"calibration.axes.{axis}", f"is never used: write ${{{axis}}} where the recipe's number stands", source
            )


def _axes_hint(name: str, axes: Iterable[str]) -> str:
    return f"{near_names(name, axes)}; calibration.axes has {', '.join(axes)}"


def _first_problem(problems: ValidationError, source: str | None) -> RecipeError:
    """pydantic's first error as a key path and a sentence."""
    error = problems.errors()[0]
    path = "calibration"
    for part in error["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        known = error.get("ctx", {}).get("known") or CalibrationBlock.known_keys(error["loc"][:-1])
        message = f"is not a key here{near_names(str(error['loc'][-1]), known)}; known keys: {', '.join(known)}"
    elif error["type"] == "missing":
        message = "is missing"
    else:
        message = f"{message} (found {error['input']!r})"
    return RecipeError(path, message, source)
