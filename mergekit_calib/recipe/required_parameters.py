"""The parameters that a merge method requires, looked for where mergekit looks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mergekit_calib.errors import RecipeError
from mergekit_calib.recipe.parent_roles import model_name
from mergekit_calib.recipe.short_form import MethodSignature, Recipe, Variant


def check_required_parameters(
    variants: Mapping[str, Variant], methods: Mapping[str, MethodSignature], source: str | None
) -> None:
    """Check that every model of a recipe has the parameters that its merge method requires.

    A parameter with filters can still lack a value for some tensors; that takes the models' files to find.

    Args:
        variants: merge method → its recipe.
        methods: name → merge method.
        source: the recipe's file, for messages.

    Raises:
        RecipeError: a parameter is missing.
    """
    for variant in variants.values():
        method = variant.recipe.get("merge_method")
        if isinstance(method, str) and method in methods:
            _check(variant.recipe, methods[method], source)


def check_parameters_are_mappings(recipe: Recipe, source: str | None) -> None:
    """Check that every `parameters` of a recipe is a mapping.

    Raises:
        RecipeError: one is not.
    """
    for path, node in _holders(recipe):
        if not isinstance(node.get("parameters"), dict | None):
            key = f"{path}.parameters" if path else "parameters"
            raise RecipeError(key, "must be a mapping, as `parameters: {weight: 0.5}`", source)


def _check(recipe: Recipe, method: MethodSignature, source: str | None) -> None:
    for name in sorted(method.required & method.shared):
        if name not in _given(recipe) and not all(name in given for given in _of_slices(recipe)):
            raise RecipeError(f"parameters.{name}", f"is missing: {method.name} needs it", source)
    for path, model, given, base in _inputs(recipe):
        for name in sorted(method.required & method.per_input):
            if name not in given and not (model == base and name not in method.of_base):
                if path:
                    key, whom = f"{path}.parameters.{name}", "each model"
                else:
                    key, whom = f"parameters.{name}", f"base_model too, which is not in `models`: {base}"
                raise RecipeError(key, f"is missing: {method.name} needs it for {whom}", source)


def _given(node: Mapping[str, Any]) -> set[str]:
    parameters = node.get("parameters")
    # mergekit takes an empty list for no value.
    return {name for name, value in parameters.items() if value != []} if isinstance(parameters, dict) else set()


def _parts(node: Mapping[str, Any], key: str, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the path and each mapping in the list under `key`."""
    listed = node.get(key)
    for i, part in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(part, dict):
            yield (f"{path}.{key}[{i}]" if path else f"{key}[{i}]"), part


def _modules(recipe: Recipe) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the path and the mapping of what holds slices or models: each module, or the recipe itself."""
    modules = recipe.get("modules")
    if isinstance(modules, dict):
        yield from ((f"modules.{name}", module) for name, module in modules.items() if isinstance(module, dict))
    else:
        yield "", recipe


def _holders(recipe: Recipe) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the path and the mapping of everything that can have `parameters`."""
    yield "", recipe
    for module_path, module in _modules(recipe):
        if module is not recipe:
            yield module_path, module
        yield from _parts(module, "models", module_path)
        for path, part in _parts(module, "slices", module_path):
            yield path, part
            yield from _parts(part, "sources", path)


def _of_slices(recipe: Recipe) -> Iterator[set[str]]:
    """Yield what each slice, or each module without slices, is given of the parameters that all models share."""
    for module_path, module in _modules(recipe):
        slices = list(_parts(module, "slices", module_path))
        yield from ((_given(module) | _given(part) for _, part in slices) if slices else [_given(module)])


def _inputs(recipe: Recipe) -> Iterator[tuple[str, str | None, set[str], str | None]]:
    """Yield each model with its path, the parameters that it is given, and the base model where it stands."""
    top, base = _given(recipe), model_name(recipe.get("base_model"))
    for module_path, module in _modules(recipe):
        shared = top | _given(module)
        models = [
            (path, model_name(m.get("model")), shared | _given(m)) for path, m in _parts(module, "models", module_path)
        ]
        yield from ((path, model, given, base) for path, model, given in models)
        if models and base is not None and base not in {model for _, model, _ in models}:
            yield "", base, shared, base  # mergekit adds it to the models
        for slice_path, part in _parts(module, "slices", module_path):
            for path, model in _parts(part, "sources", slice_path):
                own_base = model_name(part.get("base_model")) or base
                yield path, model_name(model.get("model")), shared | _given(part) | _given(model), own_base
