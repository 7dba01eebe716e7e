"""One value for each block of layers, each kind of module, or both: an axis as mergekit's own filters and gradients."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mergekit_calib.errors import RecipeError, near_names
from mergekit_calib.recipe.axes import Axis, AxisKind, Expansion, Layers
from mergekit_calib.recipe.placeholders import PlaceholderError, replace_axis


def by_layer(name: str, axis: Axis, layers: Layers) -> Expansion:
    """`{blocks: 6}`, `{filters: [self_attn, mlp]}` or both: `name_1`, `name_mlp`, `name_mlp_1`, …

    Blocks are runs of layers of equal length, as far as that divides; a filter is part of a tensor's name, as in
    mergekit. What no block and no filter names (embeddings, norms, the head) takes the mean of the values there, so
    equal values everywhere are the axis with one value. One ratio for each block: arXiv 2309.06256.

    Raises:
        ValueError: options that make no sense, with the reason.
    """
    blocks, filters = axis.kind.get("blocks", 1), axis.kind.get("filters")
    if unknown := set(axis.kind) - {"blocks", "filters"}:
        raise ValueError(f"{min(unknown)!r} is not an option of blocks and filters")
    if not isinstance(blocks, int) or isinstance(blocks, bool) or not 1 <= blocks <= layers.count:
        raise ValueError(f"blocks is {blocks!r}; the models have {layers.count} layers, so 1 to {layers.count}")
    kinds: list[str] = [""] if filters is None else filters
    if not isinstance(kinds, list) or not kinds or not all(isinstance(f, str) and (f or not filters) for f in kinds):
        raise ValueError(f"filters is {filters!r}; expected a list of parts of tensor names, as [self_attn, mlp]")
    if len({_word(f) for f in kinds}) < len(kinds):
        raise ValueError(f"filters {', '.join(kinds)}: two of them are one")
    if "blocks" in axis.kind and filters is None and blocks == 1:
        raise ValueError("blocks is 1, which is the axis without blocks")

    numbers = range(1, blocks + 1)
    names = {(f, b): "_".join([name, *filter(None, [_word(f), str(b) if "blocks" in axis.kind else ""])])
             for f in kinds for b in numbers}  # fmt: skip
    block_of_layer = [1 + layer * blocks // layers.count for layer in range(layers.count)]

    def value(placeholder: Callable[[str], str]) -> Any:
        def along(expressions: Sequence[str]) -> Any:
            """One value for all layers, or a gradient with a value for each."""
            return (
                placeholder(expressions[0])
                if blocks == 1
                else [placeholder(expressions[b - 1]) for b in block_of_layer]
            )

        conditions = [{"filter": f, "value": along([names[f, b] for b in numbers])} for f in kinds if f]
        everywhere = placeholder(_mean(list(names.values())))
        inside = along([_mean([names[f, b] for f in kinds]) for b in numbers])
        if blocks == 1:
            return [*conditions, {"value": everywhere}]
        if layers.within is None:
            return [*conditions, {"value": inside}]
        # A gradient gives what is outside the layers the first layer's value.
        return [*conditions, {"filter": layers.within, "value": inside}, {"value": everywhere}]

    plain = axis.model_copy(update={"kind": {}})
    return Expansion(dict.fromkeys(names.values(), plain), value)


BUILT_IN_KINDS: dict[str, AxisKind] = {"blocks": by_layer, "filters": by_layer}


def expand_axis(name: str, axis: Axis, layers: Layers, kinds: Mapping[str, AxisKind], source: str | None) -> Expansion:
    """What an axis that has a kind stands for.

    Raises:
        RecipeError: no such kind, or options that it cannot use.
    """
    key = f"calibration.axes.{name}"
    known = [option for option in axis.kind if option in kinds]
    if not known:
        first = next(iter(axis.kind))
        raise RecipeError(key, f"{first!r} is no kind of axis{near_names(first, kinds)}; there are "
                          f"{', '.join(sorted(kinds))}", source)  # fmt: skip
    try:
        return kinds[known[0]](name, axis, layers)
    except ValueError as problem:
        raise RecipeError(key, str(problem), source) from None


def expanded_recipe(recipe: Any, name: str, expansion: Expansion, source: str | None) -> Any:
    """`recipe` with the expansion where `${name}` stood.

    Raises:
        RecipeError: it stands where several values cannot, or in a recipe of slices, whose gradients are each its own.
    """
    try:
        found = replace_axis(recipe, name, expansion.value)
    except PlaceholderError as problem:
        raise RecipeError(problem.key, problem.message, source) from None
    if found != recipe and ("slices" in recipe or "modules" in recipe):
        key = f"calibration.axes.{name}"
        raise RecipeError(
            key, "stands for values along all layers, and this recipe has slices: give each its own axis", source
        )
    return found


def _mean(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"({' + '.join(names)}) / {len(names)}"


def _word(part: str) -> str:
    return re.sub(r"\W+", "_", part).strip("_")
