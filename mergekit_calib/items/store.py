"""Item scores on disk: one Parquet file for each point, named by a hash of everything that the scores depend on.

Every file is complete, since it is renamed into place. So a killed run goes on from the files, and a study can be
rebuilt from this folder alone. A file that was damaged since is set aside with a warning; its point is scored again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergekit_calib.items.item_files import FORMAT, Row, UnreadableItemsError, read_items, write_items
from mergekit_calib.items.table import ItemTable
from mergekit_calib.metrics import pad
from mergekit_calib.storage.set_aside import make_way, set_aside

_PART = ".part.parquet"
_KEY_LENGTH = 16
_LONGEST_NAME = 150  # characters of a point's id in its file's name; file systems allow 255 bytes in all

Tables = dict[str, list[ItemTable]]  # suite entry → the tables of its tasks


@dataclass(frozen=True)
class StoredPoint:
    """The scores of one point, as they are on disk.

    Attributes:
        id: the point's id when it was scored.
        tables: suite entry → the item tables of its tasks.
        digest: a hash of the weights that were scored.
        seconds: stage (merging, scoring) → its duration in seconds.
        stopped: the reason if the point was not scored to the end; then `tables` hold a part of its items.
        session: the id of the workers' session that scored it, empty if the file does not say; None if it was not read
            from a file.
    """

    id: str
    tables: Tables
    digest: str
    seconds: dict[str, float]
    stopped: str | None = None
    session: str | None = None

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
        return self._load(key, ".parquet")

    def load_part(self, key: str) -> StoredPoint | None:
        """Return the scored part of the point whose content key is `key`, or None if there is no part on disk."""
        return self._load(key, _PART)

    def keys(self) -> frozenset[str]:
        """Return the content keys in the names of the files of points that were scored to the end."""
        paths = [path for path in self.folder.glob("*.parquet") if not path.name.endswith(_PART)]
        return frozenset(map(self.key_in_name, paths))

    @staticmethod
    def key_in_name(path: Path) -> str:
        """Return the content key in the name of a file of item scores."""
        return path.name.removesuffix(".parquet").removesuffix(".part")[-_KEY_LENGTH:]

    def described(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the content key and the facts of every point that was scored to the end or stopped, oldest first.

        Each file is read and checked, so that a point is not said to be here if its scores cannot be loaded.
        """
        ages = [(path.lstat().st_mtime_ns, path.name, path) for path in self.folder.glob("*.parquet")]
        for _, name, path in sorted(ages):
            key = self.key_in_name(path)
            found = self._read(path, key)
            if found and (found[1].stopped or not name.endswith(_PART)):
                yield key, found[0]

    def _load(self, key: str, suffix: str) -> StoredPoint | None:
        found = (self._read(path, key) for path in sorted(self.folder.glob(f"*{key}{suffix}")))
        return next((point for _, point in filter(None, found)), None)

    def _read(self, path: Path, key: str) -> tuple[dict[str, Any], StoredPoint] | None:
        """Return the facts and the point in a file; None if it is damaged, and then it is set aside."""
        try:
            facts, rows = read_items(path, key)
            return facts, self._point_of(facts, rows)
        except FileNotFoundError:  # another worker was faster
            return None
        except UnreadableItemsError as problem:
            set_aside(path, str(problem), "its point is scored again if the sweep has it")
            return None

    def _point_of(self, facts: Mapping[str, Any], rows: Sequence[Row]) -> StoredPoint:
        tables: Tables = {}
        try:
            for (entry, task), some in _grouped(rows).items():
                tables.setdefault(self.entries.get(task, entry), []).append(_table_of(task, some))
        except Exception as problem:  # only in files of version 0.1, which have no checksum
            raise UnreadableItemsError(f"is damaged ({type(problem).__name__})") from problem
        session = facts.get("session") or ""
        return StoredPoint(facts["id"], tables, facts["digest"], facts["seconds"], facts.get("stopped"), session)

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
        name = re.sub(r"[^\w.=,+-]", "_", point.id)[:_LONGEST_NAME]
        path = self.folder / f"{name}-{key}{'.parquet' if whole else _PART}"
        write_items(path, key, rows, described)
        if whole:
            part = path.with_name(f"{name}-{key}{_PART}")
            make_way(part)
            part.unlink(missing_ok=True)
        return path


def _grouped(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Return suite entry and task → the rows of that task, in their order."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for (entry, task), some in itertools.groupby(rows, key=lambda row: (row["entry"], row["task"])):
        grouped.setdefault((entry, task), []).extend(some)
    return grouped


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
