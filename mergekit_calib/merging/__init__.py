"""Merging: the registered method, the parents, a live model set to each point, and the written result.

This is the only package that uses mergekit's internals. It relies on mergekit 0.1.5 and transformers 5; each module
says on what.
"""

# This import comes first: it triggers the hook that registers our method, so that must not be half imported yet.
import mergekit.merge_methods  # noqa: F401
