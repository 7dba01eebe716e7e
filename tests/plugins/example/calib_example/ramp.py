from typing import Literal

from mergekit_calib.recipe import AxisKind, Expansion, axis_kind


@axis_kind("ramp")
class Ramp(AxisKind):
    """Change linearly over the layers: one axis for the first layer, another for the last."""

    ramp: Literal["linear"]

    def expand(self, name, axis, layers):
        ends = [f"{name}_first", f"{name}_last"]
        plain = axis.model_copy(update={"kind_options": {}})
        # A list in a recipe is mergekit's gradient over the layers.
        return Expansion(dict.fromkeys(ends, plain), lambda placeholder: [placeholder(end) for end in ends])
