"""A checksum in `frontier.json`, so that a damaged number is not quoted."""

from __future__ import annotations

import hashlib
import json
from typing import Any

_KEY = "checksum"


def with_checksum(text: str) -> str:
    """Return the JSON text of a result with one key more, the checksum of all others."""
    body = text.rstrip().removesuffix("}").rstrip()
    return f'{body},\n "{_KEY}": "{_checksum(json.loads(text))}"\n}}\n'


def without_checksum(data: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a result without the checksum; results without one are returned as they are.

    Raises:
        ValueError: the fields are not those that were written.
    """
    if _KEY not in data:
        return data
    fields = {name: value for name, value in data.items() if name != _KEY}
    if data[_KEY] != _checksum(fields):
        raise ValueError("its numbers are not those that were written (the checksum is wrong)")
    return fields


def _checksum(fields: dict[str, Any]) -> str:
    """Return a hash of the fields, which does not depend on the order of keys or on white space."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:32]
