"""The YAML of a sweep: axes, placeholders, and the plain mergekit recipe of every point. Imports no torch."""

from mergekit_calib.recipe.axes import Axis, Number, Setting, Value
from mergekit_calib.recipe.axis_kinds import AXIS_KINDS, AxisKind, Expansion, Layers, axis_kind
from mergekit_calib.recipe.block import CalibrationBlock, ObjectiveSpec, Racing, SearchSettings, Seeds, SuiteEntry
from mergekit_calib.recipe.definition import Point, Sweep, dump_recipe, point_id
from mergekit_calib.recipe.layerwise import Blocks
from mergekit_calib.recipe.parent_roles import model_name, slices_of
from mergekit_calib.recipe.parsing import has_calibration_block, parse_sweep, read_block, read_yaml
from mergekit_calib.recipe.short_form import METHOD, SHORT_FORM, MethodSignature, Recipe

__all__ = [
    "AXIS_KINDS",
    "METHOD",
    "SHORT_FORM",
    "Axis",
    "AxisKind",
    "Blocks",
    "CalibrationBlock",
    "Expansion",
    "Layers",
    "MethodSignature",
    "Number",
    "ObjectiveSpec",
    "Point",
    "Racing",
    "Recipe",
    "SearchSettings",
    "Seeds",
    "Setting",
    "SuiteEntry",
    "Sweep",
    "Value",
    "axis_kind",
    "dump_recipe",
    "has_calibration_block",
    "model_name",
    "parse_sweep",
    "point_id",
    "read_block",
    "read_yaml",
    "slices_of",
]
