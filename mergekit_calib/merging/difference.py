"""How far two parents differ, tensor by tensor, and what share of that each axis of a sweep controls."""

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

_ROWS = 1024  # of each tensor that are compared: enough for an estimate, and a 16 GB parent takes less than a minute


def layers_of(model: ParentModel) -> Layers:
    """Return how many layers a model has, and the prefix that the names of their tensors share."""
    count = int(model.config.get_text_config().num_hidden_layers)
    stems = {match.group(1) for name in model.shapes if (match := re.match(r"(.*?)\d+\.", name))}
    within = next(iter(stems)) if len(stems) == 1 else None
    if within and any(within in name and not re.match(rf"{re.escape(within)}\d+\.", name) for name in model.shapes):
        within = None
    return Layers(count, within or None)


def difference_norms(base: ParentModel, aligned: ParentModel) -> dict[str, float]:
    """Return tensor → the Frobenius norm of aligned − base, estimated from the first rows of a large tensor.

    Tensors that only one model has, or whose shapes differ, are left out. If a model is not in safetensors format, the
    result is empty.
    """
    norms = {}
    base_files, aligned_files = _file_of_each_tensor(base), _file_of_each_tensor(aligned)
    for name in base_files.keys() & aligned_files.keys():
        if base.shapes[name] != aligned.shapes[name]:
            continue
        a, b = _first_rows(base_files[name], name), _first_rows(aligned_files[name], name)
        share = a.numel() / max(math.prod(base.shapes[name]), 1)
        norms[name] = float((b - a).norm()) / math.sqrt(share) if share else 0.0
    return norms


def importance(expansion: Expansion, layers: Layers, norms: Mapping[str, float]) -> dict[str, float]:
    """Return axis → how far the parents differ in the tensors that it controls, as a share of the greatest such value.

    How much an axis controls a tensor is read from the recipe: it is the value that mergekit gives the tensor if this
    axis is 1 and the other axes of the expansion are 0.

    Args:
        expansion: the axes.
        layers: the models' layers.
        norms: tensor → the norm of the difference, from `difference_norms`.
    """
    structure: Recipe = {"value": expansion.value(lambda expression: "${" + expression + "}")}
    totals = {}
    for axis in expansion.axes:
        setting = substitute(structure, {name: float(name == axis) for name in expansion.axes})["value"]
        setting = [ConditionalParameter(**s) if isinstance(s, dict) else s for s in setting]
        total = 0.0
        for tensor, norm in norms.items():
            share = evaluate_setting(tensor, setting, _depth(tensor, layers), validate=float) or 0.0
            total += (share * norm) ** 2
        totals[axis] = math.sqrt(total)
    most = max(totals.values(), default=0.0)
    return {axis: value / most for axis, value in totals.items()} if most > 0 and np.isfinite(most) else {}


def _depth(tensor: str, layers: Layers) -> float:
    """Return a tensor's place in mergekit's gradients: 0 in the first layer and outside all layers, 1 in the last."""
    match = re.search(rf"{re.escape(layers.within or '.')}(\d+)\.", tensor)
    return int(match.group(1)) / max(layers.count - 1, 1) if match else 0.0


def _file_of_each_tensor(model: ParentModel) -> dict[str, str]:
    """Return tensor → the file that holds it."""
    files = {}
    for path in sorted(model.folder.glob("*.safetensors")):
        with safetensors.safe_open(path, framework="pt") as tensors:
            files.update(dict.fromkeys(set(tensors.keys()) & model.shapes.keys(), str(path)))
    return files


def _first_rows(path: str, name: str) -> torch.Tensor:
    """Return the first rows of a tensor in a file, in float32; a scalar whole."""
    with safetensors.safe_open(path, framework="pt") as tensors:
        part = tensors.get_slice(name)
        rows: torch.Tensor = part[:_ROWS] if part.get_shape() else tensors.get_tensor(name)
        return rows.float()
