"""An example of a plugin: it adds a metric, a selection rule, a search strategy and an axis kind."""

from calib_example.diagonal import Diagonal
from calib_example.mean_confidence import mean_confidence
from calib_example.most import Most
from calib_example.ramp import Ramp
from mergekit_calib import hookimpl


@hookimpl
def calib_metrics():
    return [mean_confidence]


@hookimpl
def calib_selection_rules():
    return [Most]


@hookimpl
def calib_search_strategies():
    return [Diagonal]


@hookimpl
def calib_axis_kinds():
    return [Ramp]
