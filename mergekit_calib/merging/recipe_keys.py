"""The keys that mergekit reads in a recipe, from the schema of its own configuration."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from mergekit.config import MergeConfiguration
from pydantic import BaseModel

from mergekit_calib.recipe import KnownKeys


@functools.cache
def known_keys() -> KnownKeys:
    """Return the keys that mergekit reads, at every level of a recipe."""
    return _keys_of(MergeConfiguration)


def _keys_of(annotation: Any) -> KnownKeys:
    """Return the keys that a value of this type can have; those of all its alternatives, if it has several."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return KnownKeys({name: _keys_of(field.annotation) for name, field in annotation.model_fields.items()})
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return KnownKeys(below_any=_keys_of(arguments[-1]))
    merged = KnownKeys()
    for alternative in map(_keys_of, arguments):
        merged = KnownKeys({**merged.names, **alternative.names}, merged.below_any or alternative.below_any)
    return merged
