"""The models that a recipe names, which of them are parents, and the role of each."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from mergekit_calib.errors import RecipeError, near_names
from mergekit_calib.recipe.block import CalibrationBlock
from mergekit_calib.recipe.short_form import LAMBDA, Recipe

BASE, ALIGNED = "base", "aligned"
MOST_PARENTS = 8  # each is scored in full, and stands in every table and picture


def models_named(node: Any) -> Iterator[str]:
    """Yield the models that a recipe names: the values of its keys `base_model` and `model`, in order of appearance."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            name = model_name(value) if key in ("base_model", "model") else None
            if name is not None:
                yield name
            elif key not in ("parameters", "tokenizer", "tokenizer_source"):
                yield from models_named(value)
    elif isinstance(node, list):
        for value in node:
            yield from models_named(value)


def model_name(value: Any) -> str | None:
    """Return a model as one string, from any of mergekit's ways to write it; None if it is none of them.

    Example:
        >>> model_name({"model": {"path": "org/base", "revision": "v2"}, "lora": "org/adapter"})
        'org/base@v2+org/adapter'
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        return None
    if "path" in value:
        revision = value.get("revision")
        return f"{value['path']}@{revision}" if revision else str(value["path"])
    if (model := model_name(value.get("model"))) is None:
        return None
    adapter = model_name(value.get("lora"))
    return model if adapter is None else f"{model}+{adapter}"


def parents_of(recipe: Recipe, block: CalibrationBlock, source: str | None) -> dict[str, str]:
    """Return role → parent, for a recipe in the general form: every model that it names, unless the block names some.

    One model is `base`. A base model and one other are `base` and `aligned`; so are two models without a base if λ is
    an axis, in the recipe's order. Several models are `base`, if there is a base model, and the others' short names.

    Args:
        recipe: the recipe.
        block: its calibration block.
        source: the recipe's file, for messages.

    Raises:
        RecipeError: the recipe names no model or more than `MOST_PARENTS`, or the block names one that is not in it.
    """
    named = dict.fromkeys(models_named(recipe))
    if not named:
        raise RecipeError("models", "the recipe names no model", source)
    if isinstance(block.parents, dict):
        for role, model in block.parents.items():
            _check_named(f"calibration.parents.{role}", model, named, source)
        return {role: block.parents[role] for role in (BASE, ALIGNED)}
    for i, model in enumerate(block.parents or ()):
        _check_named(f"calibration.parents[{i}]", model, named, source)
    models = list(block.parents or named)
    if len(models) > MOST_PARENTS:
        problem = (
            f"the recipe names {len(models)} models, each of which would be scored as a parent; at most {MOST_PARENTS} "
            f"can be. List those to compare with: `parents: [{models[0]}, {models[1]}]`"
        )
        raise RecipeError("calibration.parents", problem, source)
    base = base_model_of(recipe)
    if base is None and len(named) == 1:
        base = next(iter(named))
    if base is None and len(named) == len(models) == 2 and LAMBDA in block.axes:
        base = models[0]
    others = [model for model in models if model != base]
    if base not in models:
        return dict(zip(short_names(models), models, strict=True))
    names = [ALIGNED] if len(others) == 1 else short_names(others, taken=[BASE])
    return {BASE: str(base), **dict(zip(names, others, strict=True))}


def base_model_of(recipe: Recipe) -> str | None:
    """Return the recipe's base model: its own, or the only one that its slices have; None if it has none."""
    if own := model_name(recipe.get("base_model")):
        return own
    of_slices = {model_name(part["base_model"]) for part in slices_of(recipe) if part.get("base_model")}
    return of_slices.pop() if len(of_slices) == 1 else None


def slices_of(recipe: Recipe) -> Iterator[Mapping[str, Any]]:
    """Yield the output slices of a recipe and of its modules."""
    modules = recipe.get("modules")
    for holder in (recipe, *(modules.values() if isinstance(modules, Mapping) else ())):
        slices = holder.get("slices") if isinstance(holder, Mapping) else None
        if isinstance(slices, list):  # mergekit refuses anything else
            yield from (part for part in slices if isinstance(part, Mapping))


def short_names(models: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """Return a short name for each model: the last part of its path, with as many parts before it as are needed.

    Args:
        models: the models, as the recipe names them; each once.
        taken: names that no model can have.

    Example:
        >>> short_names(["org/tuned", "./run-a/last", "./run-b/last", "org/tuned+org/adapter"])
        ['tuned', 'run-a/last', 'run-b/last', 'adapter']
    """
    paths = [PurePosixPath(re.sub(r"[\\+]", "/", model)) for model in models]  # `model+adapter` ends in the adapter
    parts = [[part for part in path.parts if part != "/"] for path in paths]
    lengths = [1] * len(models)
    while True:
        # The ids of points separate axes by commas, and values from axes by an equals sign.
        names = [re.sub(r"[,=\s]+", "-", "/".join(p[-n:])) for p, n in zip(parts, lengths, strict=True)]
        clashing = [i for i, name in enumerate(names) if names.count(name) > 1 or name in taken]
        longer = [i for i in clashing if lengths[i] < len(parts[i])]
        if not longer:
            break
        for i in longer:
            lengths[i] += 1
    for i in clashing:  # paths that differ only in how they are written, or that are nothing but a taken name
        names[i] = f"{names[i]}-{i + 1}"
    return names


def _check_named(key: str, model: str, named: Collection[str], source: str | None) -> None:
    if model not in named:
        raise RecipeError(key, f"{model!r} is not in the recipe{near_names(model, named)}", source)
