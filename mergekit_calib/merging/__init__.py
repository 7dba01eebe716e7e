"""Merging: the registered method, the parents, a live model set to each point, and the written result.

Apart from the hooks in `integrations`, only this package uses mergekit's internals. It relies on mergekit 0.1.5 and
transformers 5; each module says on what.
"""

# Before any module of this package: importing it triggers the hook that imports `method` and registers it, which fails
# if `method` is half imported by then.
import mergekit.merge_methods  # noqa: F401
