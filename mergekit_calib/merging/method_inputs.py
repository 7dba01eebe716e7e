"""Check a plain recipe against its merge method: how many models it takes, and the values of its parameters.

Relies on mergekit 0.1.5 for `merge_methods.get`, a method's `spec` and its `validate_inputs`. mergekit itself checks
them while it plans a merge, with the models' files, and raises exceptions of many kinds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mergekit import merge_methods
from mergekit.common import ModelReference
from mergekit.config import ConditionalParameter, MergeConfiguration, OutputModuleDefinition
from pydantic import ValidationError

from mergekit_calib.errors import RecipeError, shown


def check_method_inputs(given: MergeConfiguration, source: str | None = None) -> None:
    """Check a point's models and parameters against its merge method.

    Args:
        given: mergekit's configuration of the point.
        source: the recipe's file, for messages.

    Raises:
        RecipeError: the method takes another number of models, or another kind of value for a parameter.
    """
    method = merge_methods.get(given.merge_method)
    for path, models, base in _groups(given):
        try:
            method.validate_inputs(models, base)
        except (ValueError, RuntimeError) as problem:
            raise RecipeError(path, f"does not fit {given.merge_method}: {problem}", source) from None
    specs = {spec.name: spec for spec in method.spec.parameters}
    for path, parameters in _parameters(given):
        for name in parameters.keys() & specs.keys():
            for value in _values(parameters[name]):
                try:
                    specs[name].validate(value)
                except ValidationError as problem:
                    says = problem.errors(include_url=False)[0]["msg"]
                    raise RecipeError(f"{path}.{name}", f"{says} (found {shown(value)})", source) from None


def _modules(given: MergeConfiguration) -> Iterator[tuple[str, MergeConfiguration | OutputModuleDefinition]]:
    """Yield the path before `models` or `slices`, and what holds them."""
    if given.modules:
        yield from ((f"modules.{name}.", module) for name, module in given.modules.items())
    else:
        yield "", given


def _groups(given: MergeConfiguration) -> Iterator[tuple[str, list[ModelReference], ModelReference | None]]:
    """Yield the path, the models and the base model of everything that is merged as one."""
    for path, module in _modules(given):
        if module.models:
            models = [each.model for each in module.models]
            missing = [given.base_model] if given.base_model and given.base_model not in models else []
            yield f"{path}models", [*models, *missing], given.base_model  # mergekit adds the base model
        for i, part in enumerate(module.slices or ()):
            models = [each.model for each in part.sources]
            yield f"{path}slices[{i}].sources", models, part.base_model or given.base_model


def _parameters(given: MergeConfiguration) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the path and the parameters of everything that has some."""
    yield "parameters", given.parameters or {}
    for path, module in _modules(given):
        if module is not given:
            yield f"{path}parameters", module.parameters or {}
        for i, model in enumerate(module.models or ()):
            yield f"{path}models[{i}].parameters", model.parameters or {}
        for i, part in enumerate(module.slices or ()):
            yield f"{path}slices[{i}].parameters", part.parameters or {}
            for j, model in enumerate(part.sources):
                yield f"{path}slices[{i}].sources[{j}].parameters", model.parameters or {}


def _values(setting: Any) -> Iterator[Any]:
    """Yield each value of a parameter: those of its filters, and of a gradient."""
    if isinstance(setting, ConditionalParameter):
        yield from _values(setting.value)
    elif isinstance(setting, list):
        for each in setting:
            yield from _values(each)
    else:
        yield setting
