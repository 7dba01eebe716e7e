"""Expansion of a sweep's short form into a general recipe, in which λ is a parameter of the merge method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mergekit_calib.errors import RecipeError, near_names, shown
from mergekit_calib.recipe.axes import Axis

SHORT_FORM = "calibration_sweep"
LAMBDA = "lambda"
METHOD = "method"

Recipe = dict[str, Any]
Ends = dict[float, str]  # role of the parent that the merge is by construction, bit for bit, at a value of λ


@dataclass(frozen=True)
class MethodSignature:
    """The parameters of a registered merge method.

    Attributes:
        name: the method's name.
        shared: the names of the parameters that it has once.
        per_input: the names of the parameters that it has for each model.
        ignores_base: whether its arithmetic does not use `base_model`.
        required: the names of the parameters that have no default.
        of_base: the names of the parameters for each model that `base_model` has too.
    """

    name: str
    shared: frozenset[str]
    per_input: frozenset[str]
    ignores_base: bool = False
    required: frozenset[str] = frozenset()
    of_base: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Variant:
    """The general recipe of one merge method.

    Attributes:
        recipe: a mergekit recipe whose values can be placeholders.
        ends: value of `lambda` → the parent that the merge is at that value by construction.
    """

    recipe: Recipe
    ends: Ends


def expand_short_form(
    recipe: Recipe, axes: Mapping[str, Axis], methods: Mapping[str, MethodSignature], source: str | None
) -> tuple[dict[str, Variant], dict[str, str]]:
    """Return method → variant, and role → parent: `base` and `aligned`.

    The methods are those of the axis `method`, or the one in `parameters`. If there are several, each takes the
    parameters that it has.

    Args:
        recipe: a recipe in the short form, without the calibration block.
        axes: the block's axes.
        methods: name → merge method, for every one that mergekit has registered.
        source: the recipe's file, for messages.

    Raises:
        RecipeError: a method is unknown, is given in both places, or has no parameter that λ could be; a parameter
            belongs to no method; the recipe does not name exactly two models.
    """
    base, aligned = _two_parents(recipe, source)
    parents = {"base": base, "aligned": aligned}
    parameters = dict(recipe.get("parameters") or {})
    if METHOD not in axes:
        method = parameters.get(METHOD, "linear")
        return {str(method): _variant(recipe, base, aligned, axes, methods, source)}, parents
    if METHOD in parameters and parameters.pop(METHOD) != f"${{{METHOD}}}":
        raise RecipeError("parameters.method", "is given here and in calibration.axes: leave one out", source)
    names = [str(value) for value in axes[METHOD].levels]
    for name in names:
        if name not in methods:
            raise RecipeError(f"calibration.axes.{METHOD}", unknown_method(name, methods), source)
    known = {name: methods[name].shared | methods[name].per_input | {LAMBDA} for name in names}
    all_parameters = frozenset[str]().union(*known.values())
    for parameter in parameters:
        if parameter not in all_parameters:
            near = near_names(parameter, all_parameters)
            problem = f"is not a parameter of {', '.join(names)}{near}"
            raise RecipeError(f"parameters.{parameter}", problem, source)
    variants = {}
    for name in names:
        own = {METHOD: name, **{k: v for k, v in parameters.items() if k in known[name]}}
        variants[name] = _variant({**recipe, "parameters": own}, base, aligned, axes, methods, source)
    return variants, parents


def _variant(
    recipe: Recipe,
    base: str,
    aligned: str,
    axes: Mapping[str, Axis],
    methods: Mapping[str, MethodSignature],
    source: str | None,
) -> Variant:
    """Return the general recipe of a short-form recipe with one method.

    λ becomes the method's shared parameter `lambda` (task-vector methods, with weight 1), `t` (slerp), or the
    weights 1 − λ and λ, not normalised (linear).

    Raises:
        RecipeError: the method or a parameter is unknown, or the method has no parameter that λ could be.
    """
    parameters = dict(recipe.get("parameters") or {})
    method = parameters.pop("method", "linear")
    if not isinstance(method, str) or method not in methods or method == SHORT_FORM:
        raise RecipeError("parameters.method", unknown_method(method, methods), source)
    signature = methods[method]
    if LAMBDA not in parameters and LAMBDA not in axes:
        problem = f"the short form needs an axis `lambda`; the axes are {', '.join(axes)}"
        raise RecipeError("calibration.axes", problem, source)
    lambda_ = parameters.pop(LAMBDA, "${lambda}")
    if (wrong := _problem_of_lambda(lambda_)) is not None:
        raise RecipeError(f"parameters.{LAMBDA}", wrong, source)
    known = signature.shared | signature.per_input
    for name in parameters:
        if name not in known:
            has = ", ".join(sorted(known)) or "none"
            problem = f"{method} has no such parameter{near_names(name, known)}; its parameters: {has}"
            raise RecipeError(f"parameters.{name}", problem, source)

    arithmetic: Recipe
    ends: Ends
    if LAMBDA in signature.shared:
        # λ as `weight` would cancel out in methods that normalise; their own `lambda` scales the normalised result.
        weight = {"weight": 1.0} if "weight" in signature.per_input else {}
        arithmetic = {
            "base_model": base,
            "models": [{"model": aligned}],
            "parameters": {LAMBDA: lambda_, **weight, **parameters},
        }
        ends = {0.0: "base"}
    elif "t" in signature.shared:
        arithmetic = {
            "base_model": base,
            "models": [{"model": base}, {"model": aligned}],
            "parameters": {"t": lambda_, **parameters},
        }
        ends = {0.0: "base", 1.0: "aligned"} if method == "slerp" else {}
    elif "weight" in signature.per_input:
        # If the arithmetic ignores base_model, it only decides whose tokenizer and configuration the result has:
        # the aligned parent's. Otherwise it would turn the parents into task vectors.
        arithmetic = {
            **({"base_model": aligned} if signature.ignores_base else {}),
            "models": [
                {"model": base, "parameters": {"weight": _complement(lambda_)}},
                {"model": aligned, "parameters": {"weight": lambda_}},
            ],
            "parameters": {**({"normalize": False} if "normalize" in signature.shared else {}), **parameters},
        }
        ends = {0.0: "base", 1.0: "aligned"} if method == "linear" else {}
    else:
        problem = (
            f"{method} has no coefficient that λ could be (`lambda`, `t` or `weight`): write the recipe in the general "
            "form, with ${lambda} in place of a number"
        )
        raise RecipeError("parameters.method", problem, source)
    others = {k: v for k, v in recipe.items() if k not in ("merge_method", "base_model", *arithmetic)}
    return Variant({"merge_method": method, **arithmetic, **others}, ends if _is_the_axis(lambda_) else {})


def unknown_method(method: Any, methods: Mapping[str, MethodSignature]) -> str:
    """Return the message for a merge method that mergekit does not have."""
    known = ", ".join(sorted(methods))
    return f"mergekit has no merge method {shown(method, 40)}{near_names(str(method), methods)}; it has {known}"


def _is_the_axis(value: Any) -> bool:
    """Return whether λ is the axis itself in all tensors; only then are the axis's ends the parents."""
    return isinstance(value, str) and "".join(value.split()) == f"${{{LAMBDA}}}"


def _complement(value: Any) -> Any:
    """Return 1 − λ for a λ that is a number, a placeholder, a gradient or a list of filters."""
    if isinstance(value, list):
        return [_complement(v) for v in value]
    if isinstance(value, dict):
        return {**value, "value": _complement(value.get("value"))}
    if isinstance(value, str):
        return "${1 - (" + value.strip()[2:-1] + ")}"
    return round(1.0 - value, 12)


def _problem_of_lambda(value: Any) -> str | None:
    """Return an error message unless λ is a number, a placeholder, a gradient or a list of filters."""
    if isinstance(value, dict):
        return _problem_of_lambda(value.get("value"))
    if isinstance(value, list):
        return next((problem for each in value if (problem := _problem_of_lambda(each)) is not None), None)
    if isinstance(value, str) and value.strip().startswith("${") and value.strip().endswith("}"):
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return None
    return f'{shown(value)} is not λ: write a number or a placeholder, as "${{{LAMBDA}}}"'


def _two_parents(recipe: Recipe, source: str | None) -> tuple[str, str]:
    base = recipe.get("base_model")
    if not isinstance(base, str) or not base:
        raise RecipeError("base_model", "is missing: the short form needs the base model here, which is λ = 0", source)
    models = recipe.get("models")
    if not isinstance(models, list) or not all(isinstance(m, dict) and isinstance(m.get("model"), str) for m in models):
        raise RecipeError("models", "expected a list with one entry, `- model: <the aligned model>`", source)
    for i, entry in enumerate(models):
        if "parameters" in entry:
            problem = "is not read in the short form: give the parameters once, at the top level"
            raise RecipeError(f"models[{i}].parameters", problem, source)
    others = [m["model"] for m in models if m["model"] != base]
    if len(others) != 1:
        problem = (
            f"the short form merges base_model with exactly one aligned model; `models` has {len(others)} besides "
            f"{base!r}. For more models write the recipe in the general form"
        )
        raise RecipeError("models", problem, source)
    return base, others[0]
