"""Merging: the registered method, the parents, a live model set to each point, and the written result.

The only room that touches mergekit's internals. Relied on: mergekit 0.1.5 (`plan.py`, `parents.py`), transformers 5.
"""
