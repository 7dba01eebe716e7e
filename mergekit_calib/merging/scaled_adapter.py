"""A LoRA adapter with its change scaled: the merged model of a recipe linear in λ, to be served beside its base.

With a LoRA, aligned is base + s·B·A in each changed layer. So base + λ·(aligned − base) is the same adapter with B
multiplied by λ. Relies on peft's names of tensors and of entries in adapter_config.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mergekit.common import ModelReference
from safetensors import safe_open
from safetensors.torch import save_file

from mergekit_calib.errors import CalibError

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_FIRST = ("lora_A.weight", "lora_embedding_A")
_SECOND = ("lora_B.weight", "lora_embedding_B")
_LINEAR, _TASK_ARITHMETIC, _COPY = "linear", "task_arithmetic", "passthrough"
# They change the base's weights when training begins, so the adapter is not a change of the base itself.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "eva", "lora_ga")
_SERVE_BASE = "at λ = 0 there is no adapter to write: serve the base"


def adapter_factor(recipe: Mapping[str, Any]) -> tuple[ModelReference, float]:
    """Return the one adapter of a plain recipe, as `base+lora`, and what its change is multiplied by.

    Args:
        recipe: a point's plain mergekit recipe.

    Raises:
        CalibError: the result is not the base with a scaled change of one adapter.
    """
    method, weights = str(recipe.get("merge_method")), _weights(recipe)
    own = [reference for reference in weights if reference.lora]
    base_name = recipe.get("base_model")
    base = None if base_name is None else _reference(base_name)
    if not own:
        if method == _COPY:
            (model,) = weights
            raise _refused(f"the point is {model} itself (λ = 0 is the base): serve that model")
        raise _refused(f"the recipe names no model as base+lora, but {' and '.join(map(str, weights))}")
    if len(own) > 1:
        raise _refused(f"the recipe merges {len(own)} adapters ({own[0]}, {own[1]}); one can be scaled")
    (adapter,) = own
    plain = ModelReference(model=adapter.model)
    if wrong := [r for r in [*weights, *([base] if base else [])] if r not in (adapter, plain)]:
        raise _refused(f"{wrong[0]} is neither {adapter} nor its base {plain}")
    factor = _factor(method, recipe, weights, adapter, plain, base)
    if factor == 0:
        raise _refused(_SERVE_BASE)
    return adapter, factor


def write_scaled_adapter(adapter: ModelReference, factor: float, to: Path) -> None:
    """Write an adapter with its change multiplied, in its own dtype.

    Args:
        adapter: the model, as `base+lora`; the LoRA is a folder.
        factor: what its change is multiplied by.
        to: an existing folder.

    Raises:
        CalibError: the adapter is more than a change that a factor scales: DoRA, biases, whole modules; or it is not
            in safetensors format.
    """
    assert adapter.lora is not None
    folder = Path(adapter.lora.path)
    config = _checked_config(folder)
    with safe_open(folder / _WEIGHTS, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    if other := [name for name in tensors if not name.endswith((*_FIRST, *_SECOND))]:
        raise _refused(f"{folder / _WEIGHTS} holds {other[0]}, which is no part of a LoRA that a factor scales")
    for name in (name for name in tensors if name.endswith(_SECOND)):
        tensors[name] = (tensors[name].to(torch.float32) * factor).to(tensors[name].dtype)
    save_file(tensors, to / _WEIGHTS, metadata or {"format": "pt"})
    config["base_model_name_or_path"] = str(adapter.model)
    (to / _CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def check_adapter_scales(adapter: ModelReference) -> None:
    """Raise an error unless a factor can scale an adapter; see `write_scaled_adapter`."""
    assert adapter.lora is not None
    _checked_config(Path(adapter.lora.path))


def _checked_config(folder: Path) -> dict[str, Any]:
    """Return an adapter's config, if a factor can scale the adapter."""
    file = folder / _CONFIG
    if not (folder / _WEIGHTS).is_file():
        raise _refused(f"{folder} has no {_WEIGHTS}; the adapter has to be a folder here, in safetensors format")
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    initial = str(config.get("init_lora_weights")).casefold()
    problems = {
        f"peft_type {config.get('peft_type')}": config.get("peft_type") != "LORA",
        "use_dora (the norms of DoRA are not linear in λ)": bool(config.get("use_dora")),
        f"bias: {config.get('bias')} (biases are replaced, not added)": config.get("bias", "none") != "none",
        "lora_bias": bool(config.get("lora_bias")),
        f"modules_to_save {config.get('modules_to_save')} (they are whole, not added)": bool(
            config.get("modules_to_save")
        ),
        "trainable_token_indices": bool(config.get("trainable_token_indices")),
        f"init_lora_weights: {initial} (it changes the base's weights)": initial.startswith(_CHANGES_BASE),
    }
    if found := [name for name, is_found in problems.items() if is_found]:
        raise _refused(f"{file} has {found[0]}")
    return config


def _factor(
    method: str,
    recipe: Mapping[str, Any],
    weights: Mapping[ModelReference, float],
    adapter: ModelReference,
    plain: ModelReference,
    base: ModelReference | None,
) -> float:
    if method == _COPY:
        return 1.0
    total = sum(weights.values())
    if method == _LINEAR:
        normalised = bool(_of_all(recipe, "normalize", True))
        if normalised and total:
            return weights[adapter] / total
        if abs(total - 1.0) > 1e-6:
            raise _refused(f"the weights of `linear` sum to {total:g}, so the base's own weights are scaled too")
        return weights[adapter]
    if method == _TASK_ARITHMETIC and base == plain:
        factor = weights[adapter] * _number(_of_all(recipe, "lambda", 1.0), "lambda")
        others = sum(weight for reference, weight in weights.items() if reference != base)
        return factor / others if _of_all(recipe, "normalize", False) and others else factor
    raise _refused(f"merge_method {method} is not linear in λ; linear and task_arithmetic are")


def _weights(recipe: Mapping[str, Any]) -> dict[ModelReference, float]:
    """Return model → its weight in a plain recipe."""
    if "models" not in recipe or "slices" in recipe:
        slices = recipe.get("slices")
        sources = [s for each in slices or () for s in each.get("sources", ())]
        if str(recipe.get("merge_method")) == _COPY and len(sources) == 1 and "layer_range" not in sources[0]:
            return {_reference(sources[0]["model"]): 1.0}
        raise _refused("the recipe merges slices, not whole models")
    weights: dict[ModelReference, float] = {}
    for model in recipe["models"]:
        reference, own = _reference(model["model"]), model.get("parameters") or {}
        if reference in weights:
            raise _refused(f"{reference} is named twice")
        weights[reference] = _number(own.get("weight", _of_all(recipe, "weight", 1.0)), f"weight of {reference}")
    return weights


def _of_all(recipe: Mapping[str, Any], name: str, default: Any) -> Any:
    return (recipe.get("parameters") or {}).get(name, default)


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(f"{name} is {value!r}, not one number for all layers")
    return float(value)


def _reference(name: Any) -> ModelReference:
    return name if isinstance(name, ModelReference) else ModelReference.parse(str(name))


def _refused(reason: str) -> CalibError:
    return CalibError(f"--as adapter: {reason}")
