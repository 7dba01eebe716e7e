"""A sweep as the recipe defines it, and the plain mergekit recipe of each of its points.

This is text and numbers only. Whether the models exist, mergekit accepts a point's recipe and lm-eval has the tasks is
checked in `sweep/preflight.py`, before anything is loaded.
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
from mergekit_calib.recipe.axes import DIGITS, Axis, Setting, Value
from mergekit_calib.recipe.axis_kinds import AxisKind, Expansion, Layers, expand_axis, expanded_recipe
from mergekit_calib.recipe.block import CalibrationBlock
from mergekit_calib.recipe.parent_roles import model_name, models_named
from mergekit_calib.recipe.placeholders import PlaceholderError, substitute
from mergekit_calib.recipe.short_form import LAMBDA, METHOD, Recipe, Variant

OF_PARENTS = ("dtype", "out_dtype", "tokenizer", "tokenizer_source", "chat_template")
"""Keys that the parents' recipes take over from the sweep's; they hold no placeholders, as no axis changes a parent."""


@dataclass(frozen=True)
class Point:
    """One setting of all axes, so one plain mergekit recipe, so one model.

    Attributes:
        id: unique in the sweep, as `lambda=0.6`; its role for a parent that is not on the axes.
        axes: axis → value; empty for a parent that is not on the axes.
        recipe: the plain recipe, as mergekit reads it.
        role: which parent this is, a key of `Sweep.parent_models`, if it is one.
    """

    id: str
    axes: Setting
    recipe: Recipe
    role: str | None = None

    @property
    def yaml(self) -> str:
        """The recipe as YAML."""
        return dump_recipe(self.recipe)


@dataclass(frozen=True)
class Sweep:
    """A sweep in the general form: a recipe with placeholders, and a calibration block.

    Attributes:
        variants: merge method → its recipe with placeholders. There is one, unless the short form has an axis `method`.
        calibration: the `calibration:` block.
        parent_models: role → the parent as the recipe names it, in order; `base`, if there is one, first.
        axes: the axes that the search varies: the block's, with axes that stand for several replaced by those.
        families: axis of the block that stands for several → its expansion.
        parent_keys: keys that are added to the parents' recipes alone.
        source: the file that the YAML came from, for messages.
        notes: sentences on what the reader of the report should know about the recipe.
        text: the YAML that it was read from; None if it was made in Python.
    """

    variants: dict[str, Variant]
    calibration: CalibrationBlock
    parent_models: dict[str, str]
    axes: dict[str, Axis]
    families: dict[str, Expansion] = field(default_factory=dict)
    parent_keys: Recipe = field(default_factory=dict)
    source: str | None = None
    notes: tuple[str, ...] = ()
    text: str | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe; the first method's, if there are several."""
        return next(iter(self.variants.values())).recipe

    @property
    def method(self) -> str:
        """The merge methods that the points use."""
        names = list(self.variants) if len(self.variants) > 1 else [str(self.recipe["merge_method"])]
        if names == [f"${{{METHOD}}}"]:
            names = [str(value) for value in self.axes[METHOD].levels]
        return ", ".join(names)

    @cached_property
    def models(self) -> list[str]:
        """Every model that the recipe names, in order of appearance."""
        return list(dict.fromkeys(models_named([variant.recipe for variant in self.variants.values()])))

    def each_method(self) -> Iterator[Sweep]:
        """Yield the same sweep with a single merge method, for each of its methods."""
        for name, variant in self.variants.items():
            yield replace(self, variants={name: variant})

    def with_recipe(self, **keys: Any) -> Sweep:
        """Return the same sweep with `keys` added to the recipe of every point."""
        variants = {name: replace(v, recipe={**v.recipe, **keys}) for name, v in self.variants.items()}
        return replace(self, variants=variants)

    def with_parent_keys(self, **keys: Any) -> Sweep:
        """Return the same sweep with `keys` added to the parents' recipes."""
        return replace(self, parent_keys={**self.parent_keys, **keys})

    def expanded(self, layers: Layers, kinds: Mapping[str, type[AxisKind]]) -> Sweep:
        """Return the same sweep with each axis that stands for several replaced by those.

        Args:
            layers: the models' layers.
            kinds: name → axis kind.

        Raises:
            RecipeError: there is no such kind, its options are wrong, or several values do not fit in a place where the
                recipe has the axis.
        """
        axes, families, variants = dict[str, Axis](), dict[str, Expansion](), self.variants
        for name, axis in self.axes.items():
            if not axis.kind_options:
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
        """Return the point at a setting.

        Args:
            axes: axis → value.

        Raises:
            RecipeError: a placeholder does not give a finite number there.
        """
        try:
            recipe = substitute(self._variant(axes).recipe, axes)
        except PlaceholderError as problem:
            raise RecipeError(problem.key, problem.message, self.source) from None
        return Point(point_id(axes), dict(axes), recipe)

    def parents(self) -> list[Point]:
        """Return the parents as points, each with a recipe that passes it through."""
        common = {key: self.recipe[key] for key in OF_PARENTS if key in self.recipe}
        parents = []
        for role, model in self.parent_models.items():
            axes = self._place_of(role)
            recipe = {"merge_method": "passthrough", "models": [{"model": model}], **common, **self.parent_keys}
            if isinstance(common.get("tokenizer"), dict):
                recipe["tokenizer"] = _tokenizer_of_one(common["tokenizer"], model)
            parents.append(Point(point_id(axes) if len(axes) == 1 else role, axes, recipe, role))
        return parents

    def grid(self) -> Iterator[Point]:
        """Yield the point of every combination of the axes' values that is not a parent by construction, in order."""
        for values in itertools.product(*(axis.levels for axis in self.axes.values())):
            setting = dict(zip(self.axes, values, strict=True))
            if not self.is_parent(setting):
                yield self.point(setting)

    @property
    def n_in_grid(self) -> int:
        """How many points `grid` yields, counted without making them."""
        lambdas = [name for name in self._lambdas if name in self.axes]
        named = [*lambdas, METHOD] if len(self.variants) > 1 else lambdas
        others = math.prod(len(axis.levels) for name, axis in self.axes.items() if name not in named)
        ends = [end for variant in self.variants.values() for end in variant.ends]
        n_parents = sum(all(end in self.axes[name].levels for name in lambdas) for end in ends) if lambdas else 0
        return math.prod(len(axis.levels) for axis in self.axes.values()) - n_parents * others

    def corners(self, at_most: int = 64) -> Iterator[Point]:
        """Yield the points with every axis at an end, or at each of its names: enough to find a mistake in the recipe.

        Args:
            at_most: the greatest number of points to yield.
        """
        ends: list[list[Value]] = [
            [min(axis.numbers), max(axis.numbers)] if axis.numbers else axis.levels for axis in self.axes.values()
        ]
        for values in itertools.islice(itertools.product(*ends), at_most):
            yield self.point(dict(zip(self.axes, values, strict=True)))

    def is_parent(self, setting: Mapping[str, Value]) -> bool:
        """Return whether the point at `setting` is a parent by construction."""
        lambdas = {setting[name] for name in self._lambdas if name in setting}
        return len(lambdas) == 1 and lambdas.pop() in self._variant(setting).ends

    def _variant(self, setting: Mapping[str, Value]) -> Variant:
        if len(self.variants) == 1:
            return next(iter(self.variants.values()))
        return self.variants[str(setting[METHOD])]

    def _place_of(self, role: str) -> Setting:
        """Return a parent's setting; empty if it is at no setting, or at several."""
        values = [value for value, end in next(iter(self.variants.values())).ends.items() if end == role]
        if list(self.axes) != self._lambdas or not values:
            return {}
        return dict.fromkeys(self._lambdas, values[0])

    @property
    def _lambdas(self) -> list[str]:
        return list(self.families[LAMBDA].axes) if LAMBDA in self.families else [LAMBDA]


def point_id(axes: Mapping[str, Value]) -> str:
    """Return a point's id: `lambda=0.6,density=0.3`, or `lambda=[0.6 0.3]` for `lambda_1` and `lambda_2`."""
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
    """Return a recipe as YAML, with its keys in their order."""
    return yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=120)


def _tokenizer_of_one(tokenizer: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return a recipe's `tokenizer` for `model` alone, without the tokens that take another model's embeddings."""
    tokens = tokenizer.get("tokens")
    if not isinstance(tokens, dict):
        return dict(tokenizer)
    return {**tokenizer, "tokens": {t: entry for t, entry in tokens.items() if _source_model(entry) in (None, model)}}


def _source_model(entry: Any) -> str | None:
    """Return the model that a token takes its embedding from, in any of mergekit's ways to say so, or None."""
    source = entry.get("source") if isinstance(entry, dict) else None
    if isinstance(source, dict) and "kind" in source:
        source = source.get("model")
    return model_name(source)
