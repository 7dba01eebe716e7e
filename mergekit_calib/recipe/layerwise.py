"""The axis kind `blocks`: one value for each block of layers, each filter of tensor names, or each pair of them.

It becomes mergekit's own gradients and filters in the recipe.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from mergekit_calib.recipe.axes import Axis
from mergekit_calib.recipe.axis_kinds import AxisKind, Expansion, Layers, axis_kind


@axis_kind("blocks")
class Blocks(AxisKind):
    """`{blocks: 6}`, `{filters: [self_attn, mlp]}` or both: axes `name_1`, `name_mlp` or `name_mlp_1`, and so on.

    Blocks are runs of layers of equal length, as far as the number of layers divides. Tensors that no block and no
    filter matches (embeddings, norms, the head) take the mean of the values, so equal values everywhere give the same
    models as the axis with one value. A ratio for each block: arXiv 2309.06256.

    Attributes:
        blocks: how many blocks; None for the same value in all layers.
        filters: parts of tensor names, as in mergekit; None for the same value in all tensors.
    """

    blocks: int | None = Field(default=None, strict=True, ge=1)
    filters: list[Annotated[str, Field(min_length=1)]] | None = Field(default=None, min_length=1, max_length=64)

    @field_validator("filters")
    @classmethod
    def _axes_have_different_names(cls, filters: list[str] | None) -> list[str] | None:
        if filters is not None and len({_word(f) for f in filters}) < len(filters):
            raise ValueError(f"two of {', '.join(filters)} give the same axis name")
        return filters

    @model_validator(mode="after")
    def _is_more_than_one_axis(self) -> Self:
        if self.filters is None and self.blocks in (None, 1):
            raise ValueError("one block is the axis without `blocks`: leave it out, or give at least 2")
        return self

    def expand(self, name: str, axis: Axis, layers: Layers) -> Expansion:
        """Return one axis for each pair of a filter and a block.

        Raises:
            ValueError: there are more blocks than layers.
        """
        n_blocks = self.blocks or 1
        if n_blocks > layers.count:
            raise ValueError(f"blocks is {n_blocks}; the models have {layers.count} layers, so at most {layers.count}")
        filters = self.filters or [""]  # the empty filter stands for all tensors, and for no part of an axis's name
        numbers = range(1, n_blocks + 1)

        def axis_name(part: str, block: int) -> str:
            return "_".join(filter(None, [name, _word(part), str(block) if self.blocks is not None else ""]))

        names = {(f, b): axis_name(f, b) for f in filters for b in numbers}
        block_of_layer = [1 + layer * n_blocks // layers.count for layer in range(layers.count)]

        def value(placeholder: Callable[[str], str]) -> Any:
            def along(expressions: Sequence[str]) -> Any:
                """Return one value for all layers, or a gradient with a value for each."""
                if n_blocks == 1:
                    return placeholder(expressions[0])
                return [placeholder(expressions[b - 1]) for b in block_of_layer]

            conditions = [{"filter": f, "value": along([names[f, b] for b in numbers])} for f in filters if f]
            everywhere = placeholder(_mean(list(names.values())))
            inside = along([_mean([names[f, b] for f in filters]) for b in numbers])
            if n_blocks == 1:
                return [*conditions, {"value": everywhere}]
            if layers.within is None:
                return [*conditions, {"value": inside}]
            # mergekit gives tensors outside the layers a gradient's first value.
            return [*conditions, {"filter": layers.within, "value": inside}, {"value": everywhere}]

        plain = axis.model_copy(update={"kind_options": {}})
        return Expansion(dict.fromkeys(names.values(), plain), value)


def _mean(names: Sequence[str]) -> str:
    """Return the mean of axes as an expression."""
    return names[0] if len(names) == 1 else f"({' + '.join(names)}) / {len(names)}"


def _word(part: str) -> str:
    """Return a part of a tensor's name as a part of an axis's name."""
    return re.sub(r"\W+", "_", part).strip("_")
