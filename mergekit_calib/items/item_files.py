"""Files of item scores: Parquet with a checksum over everything in it, so that bit rot is found."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mergekit_calib.storage.atomic import write_bytes_atomic

FORMAT = 3
_FACTS, _CHECK = b"mergekit_calib", b"mergekit_calib_check"

_SCHEMA = pa.schema(
    [
        ("entry", pa.string()),
        ("task", pa.string()),
        ("doc_id", pa.int64()),
        ("doc_hash", pa.string()),
        ("log_likelihoods", pa.list_(pa.float64())),
        ("labels", pa.list_(pa.bool_())),
        ("choice_chars", pa.list_(pa.int64())),
        ("choice_bytes", pa.list_(pa.int64())),
        ("generations", pa.list_(pa.string())),
        ("values", pa.map_(pa.string(), pa.float64())),
    ]
)
_COLUMNS = set(_SCHEMA.names)

Row = dict[str, Any]  # one document, in the columns of `_SCHEMA`


class UnreadableItemsError(Exception):
    """A file holds no item scores that can be trusted; the message says why, as in "cannot be read (…)"."""


def write_items(path: Path, key: str, rows: Sequence[Row], facts: Mapping[str, Any]) -> None:
    """Write a file of item scores.

    Args:
        path: the file.
        key: the content key of the point.
        rows: its documents.
        facts: the point's recipe and so on.
    """
    text = json.dumps(facts, default=str)
    table = pa.Table.from_pylist(list(rows), schema=_SCHEMA)
    check = {"format": FORMAT, "key": key, "sha256": _checksum(text, table.to_pylist())}
    table = table.replace_schema_metadata({_FACTS: text, _CHECK: json.dumps(check)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    write_bytes_atomic(path, buffer.getvalue())


def read_facts(path: Path) -> dict[str, Any]:
    """Return the facts in a file of item scores, without reading the scores, and so without checking them.

    Args:
        path: the file.

    Raises:
        UnreadableItemsError: it has none that can be read.
        OSError: the system refuses to read it.
    """
    try:
        facts = json.loads(pq.read_schema(path).metadata[_FACTS])
    except OSError:
        raise
    except Exception as problem:  # a damaged file may lead to any error of pyarrow or of the decoders
        raise UnreadableItemsError(f"cannot be read ({type(problem).__name__})") from problem
    if not isinstance(facts, dict):
        raise UnreadableItemsError("is damaged (it has no facts)")
    return facts


def read_items(path: Path, key: str | None = None) -> tuple[dict[str, Any], list[Row]]:
    """Read a file of item scores, and check it.

    Files of version 0.1 have no checksum; what can be read of them is taken as it is. They call the column `labels` by
    the name `gold`.

    Args:
        path: the file.
        key: the content key that the file must have; None for any.

    Returns:
        The facts, and one dictionary for each document.

    Raises:
        UnreadableItemsError: it is damaged, of a newer version, or of another point.
        OSError: the system refuses to read it.
    """
    if not path.is_file():
        raise UnreadableItemsError("is no file")
    data = path.read_bytes()  # so that no error of the system is taken for damage
    try:
        table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
        text = table.schema.metadata[_FACTS].decode()
        facts = json.loads(text)
        names = ["labels" if name == "gold" else name for name in table.column_names]
        rows: list[Row] = table.rename_columns(names).to_pylist()
        check = json.loads(table.schema.metadata.get(_CHECK, b"{}"))
        is_of_newer_version = check.get("format", FORMAT) > FORMAT
        is_whole = set(names) >= _COLUMNS and {"id", "digest", "seconds"} <= facts.keys()
        is_as_written = "sha256" not in check or check["sha256"] == _checksum(text, rows)
    except Exception as problem:  # a damaged file may lead to any error of pyarrow or of the decoders
        kind = "is empty" if not data else f"cannot be read ({type(problem).__name__})"
        raise UnreadableItemsError(kind) from problem
    if is_of_newer_version:
        raise UnreadableItemsError(f"is of a newer version (format {check['format']}, this version reads {FORMAT})")
    if not (is_whole and is_as_written):
        raise UnreadableItemsError("is damaged (its checksum or its columns are wrong)")
    if key is not None and check.get("key", key) != key:
        raise UnreadableItemsError(f"holds the scores of another point (key {check['key']})")
    return facts, rows


def _checksum(facts: str, rows: Sequence[Row]) -> str:
    """Return a hash of the decoded contents, which does not depend on how a version of pyarrow encodes them."""
    digest = hashlib.sha256(facts.encode())
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True).encode())
    return digest.hexdigest()
