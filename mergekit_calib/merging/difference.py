"""How far two parents differ, tensor by tensor, and so how much each axis of a sweep governs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
import safetensors
import torch
from mergekit.config import ConditionalParameter, evaluate_setting

from mergekit_calib.merging.parents import ParentModel
from mergekit_calib.recipe import Expansion, Layers, Recipe
from mergekit_calib.recipe.placeholders import substitute

_ROWS = 1024  # of each tensor that are compared; a matrix's rows are much alike, and a 16 GB parent takes no minute


def layers_of(model: ParentModel) -> Layers:
    """How many layers a model has, and what the names of their tensors have in common."""
    count = int(model.config.get_text_config().num_hidden_layers)
    stems = {found.group(1) for name in model.shapes if (found := re.match(r"(.*?)\d+\.", name))}
    within = next(iter(stems)) if len(stems) == 1 else None
    if within and any(within in name and not re.match(rf"{re.escape(within)}\d+\.", name) for name in model.shapes):
        within = None
    return Layers(count, within or None)


def difference_norms(base: ParentModel, aligned: ParentModel) -> dict[str, float]:
    """Tensor → the Frobenius norm of aligned − base, estimated from the first rows of large ones.

    Tensors that only one of them has, or in another shape, are left out, as are models that are not safetensors.
    """
    norms = {}
    mine, theirs = _files(base), _files(aligned)
    for name in mine.keys() & theirs.keys():
        if base.shapes[name] != aligned.shapes[name]:
            continue
        a, b = _rows(mine[name], name), _rows(theirs[name], name)
        share = a.numel() / max(math.prod(base.shapes[name]), 1)
        norms[name] = float((b - a).norm()) / math.sqrt(share) if share else 0.0
    return norms


def importance(expansion: Expansion, layers: Layers, norms: Mapping[str, float]) -> dict[str, float]:
    """Axis → how far the parents differ in what it governs, relative to the axis where they differ most.

    What an axis governs is read off the recipe itself: the value that mergekit gives a tensor where this axis is 1 and
    the others of its family are 0.
    """
    structure: Recipe = {"value": expansion.value(lambda expression: "${" + expression + "}")}
    found = {}
    for axis in expansion.axes:
        setting = substitute(structure, {name: float(name == axis) for name in expansion.axes})["value"]
        setting = [ConditionalParameter(**s) if isinstance(s, dict) else s for s in setting]
        total = 0.0
        for tensor, norm in norms.items():
            share = evaluate_setting(tensor, setting, _depth(tensor, layers), validate=float) or 0.0
            total += (share * norm) ** 2
        found[axis] = math.sqrt(total)
    most = max(found.values(), default=0.0)
    return {axis: value / most for axis, value in found.items()} if most > 0 and np.isfinite(most) else {}


def _depth(tensor: str, layers: Layers) -> float:
    """Where mergekit sees a tensor in a gradient: 0 in the first layer and outside the layers, 1 in the last."""
    found = re.search(rf"{re.escape(layers.within or '.')}(\d+)\.", tensor)
    return int(found.group(1)) / max(layers.count - 1, 1) if found else 0.0


def _files(model: ParentModel) -> dict[str, str]:
    """Tensor → the file that holds it."""
    files = {}
    for path in sorted(model.folder.glob("*.safetensors")):
        with safetensors.safe_open(path, framework="pt") as tensors:
            files.update(dict.fromkeys(set(tensors.keys()) & model.shapes.keys(), str(path)))
    return files


def _rows(path: str, name: str) -> torch.Tensor:
    with safetensors.safe_open(path, framework="pt") as tensors:
        part = tensors.get_slice(name)
        return part[:_ROWS].float() if part.get_shape() else tensors.get_tensor(name).float()
