"""Item scores on disk: one Parquet file for each point, named by a hash of everything that the scores depend on.

Every file is complete, since it is renamed into place. So a killed run goes on from the files, and a study can be
rebuilt from this folder alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mergekit_calib.items.table import ItemTable
from mergekit_calib.metrics import pad
from mergekit_calib.storage.atomic import write_bytes_atomic

FORMAT = 3
_PART = ".part.parquet"
_KEY_LENGTH = 16
_LONGEST_NAME = 150  # characters of a point's id in its file's name; file systems allow 255 bytes in all

Tables = dict[str, list[ItemTable]]  # suite entry → the tables of its tasks

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


@dataclass(frozen=True)
class StoredPoint:
    """The scores of one point, as they are on disk.

    Attributes:
        id: the point's id when it was scored.
        tables: suite entry → the item tables of its tasks.
        digest: a hash of the weights that were scored.
        seconds: stage (merging, scoring) → its duration in seconds.
        stopped: the reason if the point was not scored to the end; then `tables` hold a part of its items.
    """

    id: str
    tables: Tables
    digest: str
    seconds: dict[str, float]
    stopped: str | None = None

    @property
    def n_items(self) -> int:
        """The number of documents that were scored."""
        return sum(len(table) for some in self.tables.values() for table in some)


def content_key(**content: Any) -> str:
    """Return a short hash of everything that a point's scores depend on."""
    text = json.dumps({"format": FORMAT, **content}, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


class ItemStore:
    """The folder `items/` of a run.

    Args:
        folder: the folder; it need not exist.

    Attributes:
        entries: task → the suite entry that its table is loaded under; for other tasks it is the entry in the file.
            Versions before 0.2 named the entry of a local task by the path of its file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: Mapping[str, str] = {}

    def load(self, key: str) -> StoredPoint | None:
        """Return the point whose content key is `key`, or None if it was not scored to the end."""
        return self._load(f"*{key}.parquet")

    def load_part(self, key: str) -> StoredPoint | None:
        """Return the scored part of the point whose content key is `key`, or None if there is no part on disk."""
        return self._load(f"*{key}{_PART}")

    def described(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the content key and the facts of every point that was scored to the end or stopped, oldest first."""
        for path in sorted(self.folder.glob("*.parquet"), key=lambda path: (path.stat().st_mtime_ns, path.name)):
            facts = json.loads(pq.read_schema(path).metadata[b"mergekit_calib"])
            if facts.get("stopped") or not path.name.endswith(_PART):
                yield path.name.removesuffix(".parquet").removesuffix(".part")[-_KEY_LENGTH:], facts

    def _load(self, pattern: str) -> StoredPoint | None:
        paths = sorted(self.folder.glob(pattern))
        if not paths:
            return None
        facts = json.loads(pq.read_schema(paths[0]).metadata[b"mergekit_calib"])
        tables: Tables = {}
        frame = read_rows(paths[0])
        for entry, task in dict.fromkeys((row["entry"], row["task"]) for row in frame):
            rows = [row for row in frame if (row["entry"], row["task"]) == (entry, task)]
            tables.setdefault(self.entries.get(task, entry), []).append(_table_of(task, rows))
        return StoredPoint(facts["id"], tables, facts["digest"], facts["seconds"], facts.get("stopped"))

    def save(self, key: str, point: StoredPoint, facts: Mapping[str, Any], whole: bool = True) -> Path:
        """Write a scored point, and remove the file of its part if this is the whole.

        Args:
            key: the point's content key.
            point: the scores.
            facts: the point's recipe, the suite and so on, for the file's metadata.
            whole: whether the point was scored to the end.

        Returns:
            The file.
        """
        rows = [row for entry, tables in point.tables.items() for table in tables for row in _rows_of(entry, table)]
        described = {
            **facts,
            "id": point.id,
            "digest": point.digest,
            "seconds": point.seconds,
            "stopped": point.stopped,
        }
        schema = _SCHEMA.with_metadata({"mergekit_calib": json.dumps(described, default=str)})
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer, compression="zstd")
        name = re.sub(r"[^\w.=,+-]", "_", point.id)[:_LONGEST_NAME]
        path = self.folder / f"{name}-{key}{'.parquet' if whole else _PART}"
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(path, buffer.getvalue())
        if whole:
            path.with_name(f"{name}-{key}{_PART}").unlink(missing_ok=True)
        return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a file of item scores as one dictionary for each document, in the columns of this version.

    Earlier versions call the column `labels` by the name `gold`.
    """
    table = pq.read_table(path)
    rows: list[dict[str, Any]] = table.rename_columns(
        ["labels" if name == "gold" else name for name in table.column_names]
    ).to_pylist()
    return rows


def _rows_of(entry: str, table: ItemTable) -> list[dict[str, Any]]:
    rows = []
    for i in range(len(table)):
        present = ~np.isnan(table.log_likelihoods[i])
        rows.append(
            {
                "entry": entry,
                "task": table.task,
                "doc_id": int(table.doc_ids[i]),
                "doc_hash": table.doc_hashes[i],
                "log_likelihoods": table.log_likelihoods[i][present].tolist(),
                "labels": table.labels[i][present].tolist(),
                "choice_chars": table.choice_chars[i][present].tolist(),
                "choice_bytes": table.choice_bytes[i][present].tolist(),
                "generations": None if table.generations is None else table.generations[i],
                "values": [(name, float(values[i])) for name, values in table.values.items()],
            }
        )
    return rows


def _table_of(task: str, rows: Sequence[Mapping[str, Any]]) -> ItemTable:
    names = [name for name, _ in rows[0]["values"]]
    values = [dict(row["values"]) for row in rows]

    def padded(name: str, fill: float | bool, dtype: type[np.generic]) -> NDArray[Any]:
        return pad([row[name] for row in rows], fill, dtype)

    return ItemTable(
        task=task,
        doc_ids=np.array([row["doc_id"] for row in rows], dtype=np.int64),
        doc_hashes=[row["doc_hash"] for row in rows],
        log_likelihoods=padded("log_likelihoods", np.nan, np.float64),
        labels=padded("labels", False, np.bool_),
        choice_chars=padded("choice_chars", 0, np.int64),
        choice_bytes=padded("choice_bytes", 0, np.int64),
        generations=None if rows[0]["generations"] is None else [row["generations"] for row in rows],
        values={name: np.array([v[name] for v in values], dtype=np.float64) for name in names},
    )
