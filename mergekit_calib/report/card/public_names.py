"""The names of models in what is published: local paths are reduced to names, so that no path is told."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml

from mergekit_calib.recipe import dump_recipe
from mergekit_calib.recipe.parent_roles import model_name, models_named
from mergekit_calib.report.card.front_matter import hub_names
from mergekit_calib.results.frontier import Frontier

_KEYS_OF_MODELS = ("model", "base_model", "source", "tokenizer_source")


def is_on_hub(reference: str) -> bool:
    """Return whether every part of `model@revision+adapter@revision` is a name on the Hub, and no local path."""
    parts = [part.split("@")[0].strip() for part in reference.split("+")]
    return len(hub_names([reference])) == len(set(parts))


def models_of(frontier: Frontier) -> dict[str, str]:
    """Return role → model for the parents, and name → model for others that the chosen point's recipe names."""
    models = dict(frontier.models)
    if frontier.selected is not None:
        for reference in models_named(yaml.safe_load(frontier.selected.recipe)):
            if reference not in models.values():
                models[_label(reference)] = reference
    return models


def public_names(models: Mapping[str, str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return model → its public name: the one that is given, a name on the Hub, or the last part of a local path.

    Args:
        models: role → model, as mergekit names it.
        given: role → its name on the Hub.
    """
    given, names = given or {}, dict[str, str]()
    for role, reference in models.items():
        name = given.get(role) or (reference if is_on_hub(reference) else _label(reference))
        others = [other for model, other in names.items() if model != reference]
        names[reference] = f"{role}-{name}" if name in others else name
    return names


def with_public_names(frontier: Frontier, names: Mapping[str, str]) -> Frontier:
    """Return a sweep in which models have their public names, in recipes, notes and reasons too.

    Args:
        frontier: the sweep.
        names: model → its public name.
    """
    data = _without_paths(frontier.model_dump(), _paths(names))
    data["models"] = {role: names[model] for role, model in frontier.models.items()}
    for point, original in zip(data["points"], frontier.points, strict=True):
        point["recipe"] = public_recipe(original.recipe, names)
    return Frontier.model_validate(data)


def public_recipe(text: str, names: Mapping[str, str]) -> str:
    """Return a point's plain recipe with the models' public names; as it is, if no name changes.

    Args:
        text: the recipe.
        names: model → its public name.
    """
    recipe = yaml.safe_load(text)
    changed = _renamed(recipe, names)
    return text if changed == recipe else dump_recipe(changed)


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return a recipe with other names for models, wherever mergekit reads the name of one."""
    if isinstance(value, list):
        return [_renamed(each, names) for each in value]
    if not isinstance(value, dict):
        return value
    changed = {}
    for key, each in value.items():
        name = model_name(each) if key in _KEYS_OF_MODELS else None
        changed[key] = names[name] if name is not None and name in names else _renamed(each, names)
    return changed


def _without_paths(value: Any, paths: Mapping[str, str]) -> Any:
    """Return a structure of texts with names for paths; in keys as well, so that references to them stay whole."""
    if isinstance(value, dict):
        return {_without_paths(key, paths): _without_paths(each, paths) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_paths(each, paths) for each in value]
    if isinstance(value, str):
        for path, name in sorted(paths.items(), key=lambda item: -len(item[0])):
            value = value.replace(path, name)
    return value


def local_paths(references: Iterable[str]) -> list[str]:
    """Return the absolute paths of the local folders among models and their adapters."""
    parts = [part.strip() for reference in references for part in reference.split("+")]
    return [os.path.abspath(part) for part in parts if not is_on_hub(part)]


def _paths(names: Mapping[str, str]) -> dict[str, str]:
    """Return path → public name, for every local path as it is given, and from the root."""
    paths = {}
    for reference, name in names.items():
        if is_on_hub(reference):
            continue
        if "/" in reference or "\\" in reference:
            paths[reference] = name
        if "+" not in reference:
            paths[os.path.abspath(reference)] = name
        else:
            paths |= {path: Path(path).name for path in local_paths([reference])}
    return paths


def _label(reference: str) -> str:
    """Return a model with each local path in it reduced to its last part."""
    parts = [part.strip() for part in reference.split("+")]
    return "+".join(part if is_on_hub(part) else _last_part(part) for part in parts)


def _last_part(path: str) -> str:
    return PureWindowsPath(os.path.abspath(path) if os.path.exists(path) else path).name or "model"
