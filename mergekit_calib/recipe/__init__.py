"""The YAML of a sweep: axes, placeholders, and the plain mergekit recipe of every point. Knows no torch."""

from mergekit_calib.recipe.block import CalibrationBlock, Number, ObjectiveSpec, Seeds, SuiteEntry
from mergekit_calib.recipe.short_form import SHORT_FORM, MethodSignature, Recipe
from mergekit_calib.recipe.sweep import Point, Sweep, dump_recipe, has_calibration_block, parse_sweep

__all__ = [
    "SHORT_FORM",
    "CalibrationBlock",
    "MethodSignature",
    "Number",
    "ObjectiveSpec",
    "Point",
    "Recipe",
    "Seeds",
    "SuiteEntry",
    "Sweep",
    "dump_recipe",
    "has_calibration_block",
    "parse_sweep",
]
