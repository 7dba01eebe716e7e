"""The short form of a sweep as a general recipe: which of a merge method's own parameters λ is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mergekit_calib.errors import RecipeError, near_names
from mergekit_calib.recipe.axes import Axis

SHORT_FORM = "calibration_sweep"
LAMBDA = "lambda"
METHOD = "method"

Recipe = dict[str, Any]
Role = Literal["base", "aligned"]
Ends = dict[float, Role]  # values of λ at which a merge is a parent by construction, bit for bit


@dataclass(frozen=True)
class MethodSignature:
    """What a recipe needs to know of a registered merge method.

    Attributes:
        shared, per_input: the names of its parameters, by what they belong to.
        ignores_base: whether `base_model` takes no part in its arithmetic.
    """

    name: str
    shared: frozenset[str]
    per_input: frozenset[str]
    ignores_base: bool = False


@dataclass(frozen=True)
class Variant:
    """The general recipe of one merge method, and the values of `lambda` at which it gives a parent."""

    recipe: Recipe
    ends: Ends


def expand_short_form(
    recipe: Recipe, axes: Mapping[str, Axis], methods: Mapping[str, MethodSignature], source: str | None
) -> tuple[dict[str, Variant], str, str]:
    """The general recipe of each method that the axis `method` names (or of the one in `parameters`), and the parents.

    With several methods each takes those of the parameters that it has.

    Raises:
        RecipeError: as of a single method; a method given twice over; a parameter that no method has.
    """
    base, aligned = _two_parents(recipe, source)
    parameters = dict(recipe.get("parameters") or {})
    if METHOD not in axes:
        method = parameters.get(METHOD, "linear")
        return {str(method): _variant(recipe, base, aligned, axes, methods, source)}, base, aligned
    if METHOD in parameters and parameters.pop(METHOD) != f"${{{METHOD}}}":
        raise RecipeError("parameters.method", "stands here and in calibration.axes: leave one out", source)
    names = [str(value) for value in axes[METHOD].described]
    for name in names:
        if name not in methods:
            raise RecipeError(f"calibration.axes.{METHOD}", unknown_method(name, methods), source)
    known = {name: methods[name].shared | methods[name].per_input | {LAMBDA} for name in names}
    everything = frozenset[str]().union(*known.values())
    for parameter in parameters:
        if parameter not in everything:
            near = near_names(parameter, everything)
            raise RecipeError(f"parameters.{parameter}", f"none of {', '.join(names)} has it{near}", source)
    variants = {}
    for name in names:
        own = {METHOD: name, **{k: v for k, v in parameters.items() if k in known[name]}}
        variants[name] = _variant({**recipe, "parameters": own}, base, aligned, axes, methods, source)
    return variants, base, aligned


def _variant(
    recipe: Recipe,
    base: str,
    aligned: str,
    axes: Mapping[str, Axis],
    methods: Mapping[str, MethodSignature],
    source: str | None,
) -> Variant:
    """The general recipe of a short-form recipe.

    λ becomes the method's shared parameter `lambda` (task-vector methods, with weight 1), `t` (slerp), or the
    weights 1 − λ and λ, not normalised (linear).

    Raises:
        RecipeError: an unknown method or parameter, or a method without a coefficient for λ.
    """
    parameters = dict(recipe.get("parameters") or {})
    method = parameters.pop("method", "linear")
    if not isinstance(method, str) or method not in methods or method == SHORT_FORM:
        raise RecipeError("parameters.method", unknown_method(method, methods), source)
    signature = methods[method]
    if LAMBDA not in parameters and LAMBDA not in axes:
        raise RecipeError("calibration.axes", f"the short form needs an axis `lambda`; found {', '.join(axes)}", source)
    lambda_ = parameters.pop(LAMBDA, "${lambda}")
    known = signature.shared | signature.per_input
    for name in parameters:
        if name not in known:
            has = ", ".join(sorted(known)) or "none"
            problem = f"{method} has no such parameter{near_names(name, known)}; it has {has}"
            raise RecipeError(f"parameters.{name}", problem, source)

    arithmetic: Recipe
    ends: Ends
    if LAMBDA in signature.shared:
        # λ as `weight` would cancel in methods that normalise; their own `lambda` scales what is left after that.
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
        # Where base_model takes no part in the arithmetic it says whose tokenizer and configuration the result
        # carries, and that is the aligned parent's; elsewhere it would make the parents' weights task vectors.
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
            "form, with ${lambda} where the number stands"
        )
        raise RecipeError("parameters.method", problem, source)
    others = {k: v for k, v in recipe.items() if k not in ("merge_method", "base_model", *arithmetic)}
    return Variant({"merge_method": method, **arithmetic, **others}, ends if _is_the_axis(lambda_) else {})


def unknown_method(method: Any, methods: Mapping[str, MethodSignature]) -> str:
    """A sentence for a merge method that mergekit does not have."""
    known = ", ".join(sorted(methods))
    return f"mergekit has no merge method {method!r}{near_names(str(method), methods)}; it has {known}"


def _is_the_axis(value: Any) -> bool:
    """Whether a λ is the axis itself, in all tensors: only then the axis's ends are those of the arithmetic."""
    return isinstance(value, str) and "".join(value.split()) == f"${{{LAMBDA}}}"


def _complement(value: Any) -> Any:
    """1 − λ for a λ that may be a number, a placeholder, a gradient or a list of filters."""
    if isinstance(value, list):
        return [_complement(v) for v in value]
    if isinstance(value, dict):
        return {**value, "value": _complement(value.get("value"))}
    if isinstance(value, str):
        return "${1 - (" + value.strip()[2:-1] + ")}"
    return round(1.0 - value, 12)


def _two_parents(recipe: Recipe, source: str | None) -> tuple[str, str]:
    base = recipe.get("base_model")
    if not isinstance(base, str) or not base:
        raise RecipeError("base_model", "the short form needs the parent before alignment here", source)
    models = recipe.get("models")
    if not isinstance(models, list) or not all(isinstance(m, dict) and isinstance(m.get("model"), str) for m in models):
        raise RecipeError("models", "expected a list with one entry, `- model: <the aligned parent>`", source)
    others = [m["model"] for m in models if m["model"] != base]
    if len(others) != 1:
        problem = (
            f"the short form merges base_model with exactly one aligned model; found {len(others)} besides {base!r}. "
            "For more models write the recipe in the general form"
        )
        raise RecipeError("models", problem, source)
    return base, others[0]
