"""Parsing of a sweep's YAML, in the short or the general form, with every check that needs no model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from mergekit_calib.errors import RecipeError, near_names
from mergekit_calib.recipe.block import CalibrationBlock
from mergekit_calib.recipe.block_problems import block_problem
from mergekit_calib.recipe.definition import OF_PARENTS, Sweep
from mergekit_calib.recipe.parent_roles import parents_of
from mergekit_calib.recipe.placeholders import PlaceholderError, names_in
from mergekit_calib.recipe.required_parameters import check_parameters_are_mappings, check_required_parameters
from mergekit_calib.recipe.short_form import (
    METHOD,
    SHORT_FORM,
    MethodSignature,
    Recipe,
    Variant,
    expand_short_form,
    unknown_method,
)
from mergekit_calib.recipe.unread_keys import KnownKeys, check_keys
from mergekit_calib.recipe.yaml_reader import read_yaml


def read_block(text: str, source: str | None = None) -> CalibrationBlock:
    """Read the `calibration:` block alone; neither mergekit nor a model is needed.

    Args:
        text: a mergekit recipe with a `calibration:` block.
        source: the file that the text came from, for messages.

    Raises:
        RecipeError: the text has no such block, or there is a mistake in it; the error has its key path.
    """
    data = read_yaml(text, source)
    if not isinstance(data, dict) or not isinstance(data.get("calibration"), dict):
        raise RecipeError("calibration", "expected a mapping with `axes` and `suite`", source)
    try:
        return CalibrationBlock.model_validate(data["calibration"])
    except ValidationError as problems:
        raise block_problem(problems, source) from None


def parse_sweep(
    text: str,
    methods: Mapping[str, MethodSignature],
    source: str | None = None,
    known: KnownKeys | None = None,
) -> Sweep:
    """Read a sweep from YAML, in either form.

    Args:
        text: a mergekit recipe with a `calibration:` block.
        methods: every merge method that mergekit has registered, by name.
        source: the file that the text came from, for messages.
        known: the keys that mergekit reads; None to check no key outside the block.

    Raises:
        RecipeError: there is a mistake that can be found without opening a model; the error has its key path.
    """
    block = read_block(text, source)
    recipe = {key: value for key, value in read_yaml(text, source).items() if key != "calibration"}
    check_parameters_are_mappings(recipe, source)
    notes = (
        [] if known is None else check_keys(recipe, known, _parameters(recipe, block, methods), _all(methods), source)
    )
    if recipe.get("merge_method") == SHORT_FORM:
        variants, parents = expand_short_form(recipe, block.axes, methods, source)
    else:
        _check_method(recipe, block, methods, source)
        parents = parents_of(recipe, block, source)
        variants = {str(recipe["merge_method"]): Variant(recipe, {})}
    _check_placeholders(variants, block, source)
    check_required_parameters(variants, methods, source)
    return Sweep(variants, block, parents, dict(block.axes), source=source, notes=tuple(notes), text=text)


def check_plain_short_form(
    text: str, methods: Mapping[str, MethodSignature], known: KnownKeys, source: str | None = None
) -> list[str]:
    """Check the keys of a recipe of the method `calibration_sweep` that is no sweep, which mergekit merges at one λ.

    Args:
        text: the recipe.
        methods: every merge method that mergekit has registered, by name.
        known: the keys that mergekit reads.
        source: the file that the text came from, for messages.

    Returns:
        Notes for the user.

    Raises:
        RecipeError: a key may be a misspelling of one that is read.
    """
    parameters = methods[SHORT_FORM].shared | methods[SHORT_FORM].per_input
    return check_keys(read_yaml(text, source), known, parameters, _all(methods), source)


def _parameters(recipe: Recipe, block: CalibrationBlock, methods: Mapping[str, MethodSignature]) -> frozenset[str]:
    """Return the parameters of the recipe's merge methods."""
    names = [recipe.get("merge_method")]
    if names == [f"${{{METHOD}}}"] and METHOD in block.axes:
        names = list(block.axes[METHOD].levels)
    if SHORT_FORM in names:  # where the short form itself refuses those that its methods lack
        return _all(methods)
    signatures = [methods[name] for name in names if isinstance(name, str) and name in methods]
    return frozenset[str]().union(*(each.shared | each.per_input for each in signatures))


def _all(methods: Mapping[str, MethodSignature]) -> frozenset[str]:
    return frozenset[str]({METHOD}).union(*(each.shared | each.per_input for each in methods.values()))


def _check_method(
    recipe: Recipe, block: CalibrationBlock, methods: Mapping[str, MethodSignature], source: str | None
) -> None:
    method = recipe.get("merge_method")
    names, key = [method], "merge_method"
    if method == f"${{{METHOD}}}" and METHOD in block.axes:
        names, key = list(block.axes[METHOD].levels), f"calibration.axes.{METHOD}"
    for name in names:
        if not isinstance(name, str) or name not in methods:
            raise RecipeError(key, unknown_method(name, methods), source)


def _check_placeholders(variants: Mapping[str, Variant], block: CalibrationBlock, source: str | None) -> None:
    """Raise a RecipeError unless every placeholder has an axis, and every axis a placeholder."""
    used: set[str] = {METHOD} if len(variants) > 1 or list(variants) == _names_of(block) else set()
    try:
        for variant in variants.values():
            for key, names in names_in(variant.recipe):
                if re.split(r"[.\[]", key)[0] in OF_PARENTS:
                    problem = "cannot be a placeholder: the parents, which are on no axis, have this key too. Give it "
                    raise RecipeError(key, f"{problem}one value, and run a sweep for each other value", source)
                for name in names:
                    if name not in block.axes:
                        raise RecipeError(key, f"${{{name}}} is not an axis{_axes_hint(name, block.axes)}", source)
                    used.add(name)
    except PlaceholderError as problem:
        raise RecipeError(problem.key, problem.message, source) from None
    for axis in block.axes:
        if axis not in used:
            raise RecipeError(
                f"calibration.axes.{axis}", f"is never used: write ${{{axis}}} in place of the recipe's number", source
            )


def _names_of(block: CalibrationBlock) -> list[str] | None:
    return [str(value) for value in block.axes[METHOD].levels] if METHOD in block.axes else None


def _axes_hint(name: str, axes: Iterable[str]) -> str:
    return f"{near_names(name, axes)}; calibration.axes has {', '.join(axes)}"
