"""The YAML of a sweep: axes, placeholders, and the plain mergekit recipe of every point. Imports no torch."""

from mergekit_calib.recipe.axes import Axis, Number, Setting, Value
from mergekit_calib.recipe.axis_kinds import AXIS_KINDS, AxisKind, Expansion, Layers, axis_kind
from mergekit_calib.recipe.block import CalibrationBlock, ObjectiveSpec, Seeds
from mergekit_calib.recipe.definition import Point, Sweep, dump_recipe, point_id
from mergekit_calib.recipe.layerwise import Blocks
from mergekit_calib.recipe.parent_roles import model_name, slices_of
from mergekit_calib.recipe.parsing import check_plain_short_form, parse_sweep, read_block
from mergekit_calib.recipe.recipe_file import read_file
from mergekit_calib.recipe.search_settings import Racing, SearchSettings
from mergekit_calib.recipe.short_form import METHOD, SHORT_FORM, MethodSignature, Recipe
from mergekit_calib.recipe.suite_entry import SuiteEntry
from mergekit_calib.recipe.sweep_detection import has_calibration_block, is_short_form, text_of_sweep
from mergekit_calib.recipe.unread_keys import KnownKeys
from mergekit_calib.recipe.yaml_reader import read_yaml

__all__ = [
    "AXIS_KINDS",
    "METHOD",
    "SHORT_FORM",
    "Axis",
    "AxisKind",
    "Blocks",
    "CalibrationBlock",
    "Expansion",
    "KnownKeys",
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
    "check_plain_short_form",
    "dump_recipe",
    "has_calibration_block",
    "is_short_form",
    "model_name",
    "parse_sweep",
    "point_id",
    "read_block",
    "read_file",
    "read_yaml",
    "slices_of",
    "text_of_sweep",
]
