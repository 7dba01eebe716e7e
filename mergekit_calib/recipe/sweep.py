"""The YAML of a sweep: axes, placeholders, and the plain mergekit recipe of every point.

Knows text and numbers only. Whether the models exist, whether mergekit accepts a point's recipe and whether lm-eval
knows the tasks is asked by the rooms that know them, still before anything is loaded.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import yaml
from pydantic import ValidationError

from mergekit_calib.errors import RecipeError, near_names
from mergekit_calib.recipe.axes import Axis, AxisKind, Expansion, Layers, Setting, Value
from mergekit_calib.recipe.block import CalibrationBlock
from mergekit_calib.recipe.layerwise import expand_axis, expanded_recipe
from mergekit_calib.recipe.placeholders import PlaceholderError, names_in, substitute
from mergekit_calib.recipe.short_form import (
    LAMBDA,
    METHOD,
    SHORT_FORM,
    MethodSignature,
    Recipe,
    Role,
    Variant,
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
    axes: Setting
    recipe: Recipe
    role: Role | None = None

    @property
    def yaml(self) -> str:
        return dump_recipe(self.recipe)


@dataclass(frozen=True)
class Sweep:
    """A sweep as the user asked for it, in the general form: a recipe with placeholders, and a calibration block.

    Attributes:
        variants: merge method → a mergekit recipe whose values may be `${axis}`, and the values of `lambda` at which
            it gives a parent by construction; one, unless the method is an axis of the short form.
        calibration: the `calibration:` block.
        base, aligned: the parents, as the recipe names them.
        axes: what the search varies: the block's, where those that stand for several are replaced by them.
        families: axis of the block → what it stands for, where that is several.
        source: the file that the YAML came from, for messages.
    """

    variants: dict[str, Variant]
    calibration: CalibrationBlock
    base: str
    aligned: str
    axes: dict[str, Axis]
    families: dict[str, Expansion] = field(default_factory=dict)
    source: str | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe, of the first method where there are several."""
        return next(iter(self.variants.values())).recipe

    @property
    def method(self) -> str:
        """The merge methods that the points use."""
        names = list(self.variants) if len(self.variants) > 1 else [str(self.recipe["merge_method"])]
        if names == [f"${{{METHOD}}}"]:
            names = [str(value) for value in self.axes[METHOD].described]
        return ", ".join(names)

    @cached_property
    def models(self) -> list[str]:
        """Every model that the recipe names, in order of appearance."""
        return list(dict.fromkeys(_models_named([variant.recipe for variant in self.variants.values()])))

    def with_recipe(self, **keys: Any) -> Sweep:
        """The same sweep with `keys` added to the recipe of every point."""
        variants = {name: replace(v, recipe={**v.recipe, **keys}) for name, v in self.variants.items()}
        return replace(self, variants=variants)

    def expanded(self, layers: Layers, kinds: Mapping[str, AxisKind]) -> Sweep:
        """The same sweep with each axis that has a kind replaced by the axes it stands for.

        Raises:
            RecipeError: no such kind, options that it cannot use, or a place where several values do not fit.
        """
        axes, families, variants = dict[str, Axis](), dict[str, Expansion](), self.variants
        for name, axis in self.axes.items():
            if not axis.kind:
                axes[name] = axis
                continue
            expansion = expand_axis(name, axis, layers, kinds, self.source)
            if taken := expansion.axes.keys() & (self.axes.keys() | axes.keys()):
                key = f"calibration.axes.{name}"
                raise RecipeError(key, f"stands for {min(taken)}, which is an axis already", self.source)
            axes |= expansion.axes
            families[name] = expansion
            variants = {
                method: replace(v, recipe=expanded_recipe(v.recipe, name, expansion, self.source))
                for method, v in variants.items()
            }
        return replace(self, axes=axes, families=families, variants=variants)

    def point(self, axes: Mapping[str, Value]) -> Point:
        """The point at `axes`.

        Raises:
            RecipeError: a placeholder does not give a finite number there.
        """
        try:
            recipe = substitute(self._variant(axes).recipe, axes)
        except PlaceholderError as problem:
            raise RecipeError(problem.key, problem.message, self.source) from None
        return Point(point_id(axes), dict(axes), recipe)

    def parents(self) -> tuple[Point, Point]:
        """The two parents, each as a recipe that passes it through; on the λ axis where that is where they stand."""
        kept = ("dtype", "out_dtype", "tokenizer", "tokenizer_source", "chat_template")
        common = {key: self.recipe[key] for key in kept if key in self.recipe}

        def parent(role: Role, model: str, value: float) -> Point:
            axes = self._place_of(role, value)
            recipe = {"merge_method": "passthrough", "models": [{"model": model}], **common}
            return Point(point_id(axes) if len(axes) == 1 else role, axes, recipe, role)

        return parent("base", self.base, 0.0), parent("aligned", self.aligned, 1.0)

    def grid(self) -> Iterator[Point]:
        """Every combination of the axes' values that is not a parent by construction, in order."""
        for values in itertools.product(*(axis.described for axis in self.axes.values())):
            setting = dict(zip(self.axes, values, strict=True))
            if not self.is_parent(setting):
                yield self.point(setting)

    def corners(self, at_most: int = 64) -> Iterator[Point]:
        """Points with every axis at one of its ends, and every name: what a recipe that is wrong somewhere shows."""
        ends: list[list[Value]] = [
            [min(axis.numbers), max(axis.numbers)] if axis.numbers else axis.described for axis in self.axes.values()
        ]
        for values in itertools.islice(itertools.product(*ends), at_most):
            yield self.point(dict(zip(self.axes, values, strict=True)))

    def is_parent(self, setting: Mapping[str, Value]) -> bool:
        """Whether the point at `setting` is a parent by construction."""
        lambdas = {setting[name] for name in self._lambdas if name in setting}
        return len(lambdas) == 1 and lambdas.pop() in self._variant(setting).ends

    def _variant(self, setting: Mapping[str, Value]) -> Variant:
        if len(self.variants) == 1:
            return next(iter(self.variants.values()))
        return self.variants[str(setting[METHOD])]

    def _place_of(self, role: Role, value: float) -> Setting:
        """Where a parent stands in the space that is searched; empty where it stands nowhere, or in many places."""
        if list(self.axes) != self._lambdas or next(iter(self.variants.values())).ends.get(value) != role:
            return {}
        return dict.fromkeys(self._lambdas, value)

    @property
    def _lambdas(self) -> list[str]:
        return list(self.families[LAMBDA].axes) if LAMBDA in self.families else [LAMBDA]


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

    if recipe.get("merge_method") == SHORT_FORM:
        variants, base, aligned = expand_short_form(recipe, block.axes, methods, source)
    else:
        _check_method(recipe, block, methods, source)
        base, aligned = _parents_of(recipe, block, source)
        variants = {str(recipe["merge_method"]): Variant(recipe, {})}
    _check_placeholders(variants, block, source)
    return Sweep(variants, block, base, aligned, dict(block.axes), source=source)


def point_id(axes: Mapping[str, Value]) -> str:
    """A readable name for a setting: `lambda=0.6,density=0.3`; of `lambda_1`, `lambda_2`, …: `lambda=[0.6 0.3]`."""
    parts: list[str] = []
    runs: dict[str, list[str]] = {}
    for name, value in axes.items():
        shown = value if isinstance(value, str) else f"{value:g}"
        stem, _, number = name.rpartition("_")
        if number != str(len(runs.get(stem, ())) + 1) or f"{stem}_2" not in axes:
            parts.append(f"{name}={shown}")
        elif stem in runs:
            runs[stem].append(shown)
        else:
            runs[stem] = [shown]
            parts.append(stem)
    return ",".join(part if "=" in part else f"{part}=[{' '.join(runs[part])}]" for part in parts)


def dump_recipe(recipe: Recipe) -> str:
    """A recipe as YAML, keys in the order that people write them."""
    return yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=120)


def _check_method(
    recipe: Recipe, block: CalibrationBlock, methods: Mapping[str, MethodSignature], source: str | None
) -> None:
    method = recipe.get("merge_method")
    names, key = [method], "merge_method"
    if method == f"${{{METHOD}}}" and METHOD in block.axes:
        names, key = list(block.axes[METHOD].described), f"calibration.axes.{METHOD}"
    for name in names:
        if not isinstance(name, str) or name not in methods:
            raise RecipeError(key, unknown_method(name, methods), source)


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


def _check_placeholders(variants: Mapping[str, Variant], block: CalibrationBlock, source: str | None) -> None:
    """Every placeholder has an axis, and every axis a placeholder."""
    used: set[str] = {METHOD} if len(variants) > 1 or list(variants) == _names_of(block) else set()
    try:
        for variant in variants.values():
            for key, names in names_in(variant.recipe):
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


def _names_of(block: CalibrationBlock) -> list[str] | None:
    return [str(value) for value in block.axes[METHOD].described] if METHOD in block.axes else None


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
