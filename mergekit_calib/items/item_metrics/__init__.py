"""The built-in metrics, one subject in each module.

To add a metric, add a module here with a function under the decorator `metric`; `metric_registry` lists this package.
Tables show metrics in the alphabetical order of modules, and within a module in the order of its lines.
"""
