"""mergekit's configuration for a plain recipe, and the transformers config of the merged model.

Relies on mergekit 0.1.5 for `merge._model_out_config`, which takes the first of
`MergeConfiguration.referenced_models` if there is no `base_model`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import torch
import transformers
from mergekit.architecture import ModelArchitecture, get_architecture_info
from mergekit.common import ModelReference, dtype_from_name
from mergekit.config import MergeConfiguration
from mergekit.merge import _model_out_config
from mergekit.options import MergeOptions
from pydantic import ValidationError

from mergekit_calib.errors import CalibError, RecipeError, shown
from mergekit_calib.recipe import Recipe

# Config fields that do not affect a forward pass.
_INERT = {"_name_or_path", "architectures", "bos_token_id", "dtype", "eos_token_id", "pad_token_id"}
_INERT |= {"torch_dtype", "transformers_version", "use_cache"}

_ABSENT = "absent"  # in messages, for a config field that is not there


class _Configuration(MergeConfiguration):  # type: ignore[misc]  # mergekit has no types
    """mergekit's configuration, with the models in the recipe's order.

    mergekit 0.1.5 itself keeps them in a set, whose order differs between processes. Without `base_model` it takes the
    tokenizer from the first one, so that would differ too.
    """

    def referenced_models(self) -> list[ModelReference]:
        """Return the models that the recipe names, in its order."""
        modules = list((self.modules or {}).values())
        slices = [*(self.slices or []), *(part for module in modules for part in module.slices or [])]
        inputs = [*(self.models or []), *(model for module in modules for model in module.models or [])]
        named = [given.model for given in (*inputs, *(source for part in slices for source in part.sources))]
        return list(dict.fromkeys([*([self.base_model] if self.base_model else []), *named]))


def configuration(recipe: Recipe, source: str | None = None) -> MergeConfiguration:
    """Return mergekit's configuration for a plain recipe.

    Args:
        recipe: the recipe.
        source: its file, for messages.

    Raises:
        RecipeError: mergekit does not accept it, or does not know its dtype; with the key path.
    """
    for key in ("dtype", "out_dtype"):
        if problem := dtype_problem(recipe.get(key)):
            raise RecipeError(key, problem, source)
    try:
        return _Configuration.model_validate(recipe)
    except ValidationError as problems:
        error = problems.errors()[0]
        key = ".".join(str(part) for part in error["loc"]) or "recipe"
        raise RecipeError(key, f"{error['msg']} (found {shown(error['input'])})", source) from None
    except RuntimeError as problem:  # mergekit's own validators raise these
        raise RecipeError("recipe", str(problem), source) from None


def dtype_problem(name: Any) -> str | None:
    """Return an error message unless `name` is None or a floating-point dtype that mergekit knows."""
    try:
        accepted = name is None or (dtype_from_name(str(name)) or torch.float32).is_floating_point
    except RuntimeError:
        accepted = False
    return None if accepted else f"is {shown(name)}; it can be float32, bfloat16, float16 or float64"


def check_configuration_source(recipe: Recipe, options: MergeOptions, source: str | None = None) -> None:
    """Check that all models would give the merged model the same config, unless the recipe names a `base_model`.

    mergekit takes the config from `base_model`; without it, from any of the models.

    Args:
        recipe: a point's plain recipe.
        options: mergekit's options.
        source: the recipe's file, for messages.

    Raises:
        RecipeError: the recipe has no `base_model`, and two models' configs differ in a field that affects a forward
            pass.
    """
    if recipe.get("base_model") is None and (difference := config_difference(recipe, options)):
        problem = "without base_model, mergekit takes the merged model's config from any of them"
        remedy = f"name the model that it should come from (in {recipe['merge_method']} it is also the base)"
        raise RecipeError("base_model", f"{difference}; {problem}: {remedy}, or make them equal", source)


def config_difference(recipe: Recipe, options: MergeOptions) -> str | None:
    """Return how the models' configs differ in a field that affects a forward pass; None if they do not.

    Args:
        recipe: a point's plain recipe.
        options: mergekit's options.
    """
    given = configuration(recipe)
    architecture = architecture_of(given, options)
    set_by_tokenizer = {"vocab_size"} if given.tokenizer or given.tokenizer_source else set()

    def config_from(model: ModelReference) -> dict[str, Any]:
        with_base = given.model_copy(update={"base_model": model})
        return _flat(merged_configuration(with_base, architecture, options), set_by_tokenizer)

    first, *others = given.referenced_models()
    of_first = config_from(first)
    for other in others:
        of_other = config_from(other)
        for key in (*of_first, *of_other):
            if (a := of_first.get(key, _ABSENT)) != (b := of_other.get(key, _ABSENT)):
                return f"{key} is {a} in {first} and {b} in {other}"
    return None


def merged_configuration(
    configuration: MergeConfiguration, architecture: ModelArchitecture, options: MergeOptions
) -> transformers.PretrainedConfig:
    """Return the transformers config of the merged model.

    Args:
        configuration: mergekit's configuration.
        architecture: what `architecture_of` returns for it.
        options: mergekit's options.
    """
    config: transformers.PretrainedConfig = _model_out_config(
        configuration, architecture, trust_remote_code=options.trust_remote_code
    )
    return config


def merged_layers(recipe: Recipe, options: MergeOptions) -> int:
    """Return how many layers the merged model of a plain recipe has."""
    given = configuration(recipe)
    config = merged_configuration(given, architecture_of(given, options), options)
    return int(config.get_text_config().num_hidden_layers)


def _flat(config: transformers.PretrainedConfig, without: Collection[str]) -> dict[str, Any]:
    """Return key path → value for the config fields that affect a forward pass, except the keys in `without`."""

    def leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
        if not isinstance(node, dict):
            yield path, node
            return
        for key, value in node.items():
            if key not in without:
                yield from leaves(value, f"{path}.{key}" if path else str(key))

    return dict(leaves(active_configuration(config), ""))


def architecture_of(configuration: MergeConfiguration, options: MergeOptions) -> ModelArchitecture:
    """Return mergekit's description of the models' architecture.

    Args:
        configuration: mergekit's configuration.
        options: mergekit's options.

    Raises:
        CalibError: the models have architectures that mergekit cannot merge.
    """
    try:
        return get_architecture_info(configuration, options)
    except RuntimeError as problem:
        raise CalibError(f"mergekit cannot plan this recipe: {problem}") from problem


def active_configuration(config: transformers.PretrainedConfig) -> dict[str, Any]:
    """Return the config fields that affect a forward pass."""

    def active(fields: dict[str, Any]) -> dict[str, Any]:
        return {k: active(v) if isinstance(v, dict) else v for k, v in fields.items() if k not in _INERT}

    return active(config.to_dict())
