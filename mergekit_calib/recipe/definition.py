"""A sweep as the user asked for it, and the plain mergekit recipe of each of its points.

Knows text and numbers only. Whether the models exist, whether mergekit accepts a point's recipe and whether lm-eval
knows the tasks is asked by the rooms that know them, still before anything is loaded.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import yaml

from mergekit_calib.errors import RecipeError
from mergekit_calib.recipe.axes import DIGITS, Axis, AxisKind, Expansion, Layers, Setting, Value
from mergekit_calib.recipe.block import CalibrationBlock
from mergekit_calib.recipe.layerwise import expand_axis, expanded_recipe
from mergekit_calib.recipe.placeholders import PlaceholderError, substitute
from mergekit_calib.recipe.short_form import LAMBDA, METHOD, Recipe, Role, Variant

OF_PARENTS = ("dtype", "out_dtype", "tokenizer", "tokenizer_source", "chat_template")
"""Keys that the parents' recipes have from the sweep's: of points on no axis, so without placeholders."""


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
        return list(dict.fromkeys(models_named([variant.recipe for variant in self.variants.values()])))

    def each_method(self) -> Iterator[Sweep]:
        """The same sweep with one merge method, for each that it has."""
        for name, variant in self.variants.items():
            yield replace(self, variants={name: variant})

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
        common = {key: self.recipe[key] for key in OF_PARENTS if key in self.recipe}

        def parent(role: Role, model: str, value: float) -> Point:
            axes = self._place_of(role, value)
            recipe = {"merge_method": "passthrough", "models": [{"model": model}], **common}
            if isinstance(common.get("tokenizer"), dict):
                recipe["tokenizer"] = _tokenizer_of_one(common["tokenizer"], model)
            return Point(point_id(axes) if len(axes) == 1 else role, axes, recipe, role)

        return parent("base", self.base, 0.0), parent("aligned", self.aligned, 1.0)

    def grid(self) -> Iterator[Point]:
        """Every combination of the axes' values that is not a parent by construction, in order."""
        for values in itertools.product(*(axis.described for axis in self.axes.values())):
            setting = dict(zip(self.axes, values, strict=True))
            if not self.is_parent(setting):
                yield self.point(setting)

    @property
    def n_in_grid(self) -> int:
        """How many points `grid` gives, without making them."""
        lambdas = [name for name in self._lambdas if name in self.axes]
        named = [*lambdas, METHOD] if len(self.variants) > 1 else lambdas
        others = math.prod(len(axis.described) for name, axis in self.axes.items() if name not in named)
        ends = [end for variant in self.variants.values() for end in variant.ends]
        n_parents = sum(all(end in self.axes[name].described for name in lambdas) for end in ends) if lambdas else 0
        return math.prod(len(axis.described) for axis in self.axes.values()) - n_parents * others

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


def point_id(axes: Mapping[str, Value]) -> str:
    """A readable name for a setting: `lambda=0.6,density=0.3`; of `lambda_1`, `lambda_2`, …: `lambda=[0.6 0.3]`."""
    parts: list[str] = []
    runs: dict[str, list[str]] = {}
    for name, value in axes.items():
        shown = value if isinstance(value, str) else f"{value:.{DIGITS}g}"
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


def _tokenizer_of_one(tokenizer: Mapping[str, Any], model: str) -> dict[str, Any]:
    """A recipe's `tokenizer` for `model` alone: without the tokens whose embeddings are another model's."""
    tokens = tokenizer.get("tokens")
    if not isinstance(tokens, dict):
        return dict(tokenizer)
    return {**tokenizer, "tokens": {t: entry for t, entry in tokens.items() if _source_model(entry) in (None, model)}}


def _source_model(entry: Any) -> str | None:
    """The model that a token's embedding is from, in any of mergekit's ways to say so; None where it is from none."""
    source = entry.get("source") if isinstance(entry, dict) else None
    while isinstance(source, dict):
        source = source.get("model") or source.get("path")
    return source


def models_named(node: Any) -> Iterator[str]:
    """The values of `base_model` and `model` keys anywhere in a recipe."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("base_model", "model") and isinstance(value, str):
                yield value
            elif key not in ("parameters", "tokenizer", "tokenizer_source"):
                yield from models_named(value)
    elif isinstance(node, list):
        for value in node:
            yield from models_named(value)
