"""Recipes of two parents, and the sweep that they are once everything is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mergekit.options import MergeOptions

from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.recipe import dump_recipe, parse_sweep
from mergekit_calib.sweep.preflight import prepare
from mergekit_calib.sweep.prepared import Prepared


def short_form(base: Path, aligned: Path, **keys: Any) -> dict[str, Any]:
    return {
        "merge_method": "calibration_sweep",
        "base_model": str(base),
        "models": [{"model": str(aligned)}],
        "dtype": "bfloat16",
        **keys,
    }


def weighted(base: Path, aligned: Path, method: str = "linear", **keys: Any) -> dict[str, Any]:
    """Return a general recipe without `base_model`."""
    weights = {str(base): "${1 - lambda}", str(aligned): "${lambda}"}
    models = [{"model": model, "parameters": {"weight": weight}} for model, weight in weights.items()]
    return {"merge_method": method, "models": models, "dtype": "bfloat16", **keys}


def prepared(recipe: dict[str, Any], task: str, out: Path, **calibration: Any) -> Prepared:
    register()
    block = {"axes": {"lambda": [0.5]}, "suite": [task], **calibration}
    sweep = parse_sweep(dump_recipe({**recipe, "calibration": block}), registered_signatures(), "sweep.yml")
    return prepare(sweep, out, MergeOptions(quiet=True))
