"""Merging: the registered method, the parents, a live model set to each point, and the written result.

The only room that touches mergekit's internals. Relied on: mergekit 0.1.5 (`plan.py`, `parents.py`), transformers 5.
"""

# First of all: importing this sets off the hook that registers our method, which must find its module not half-way in.
import mergekit.merge_methods  # noqa: F401
