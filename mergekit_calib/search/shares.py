"""Shares of a point's documents, which workers without a point of their own score for the one that has it.

A strategy may have fewer points than there are workers: `curve` asks for one point after another. The worker that has
claimed a point cuts its documents into shares, if other workers are idle, and describes them in a file. Each share is
claimed and stored by itself, so a worker that dies loses its share alone, and a run that is killed keeps the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mergekit_calib.items.store import ItemStore, StoredPoint, Tables, content_key
from mergekit_calib.items.table import joined
from mergekit_calib.recipe import Point
from mergekit_calib.storage.atomic import write_text_atomic

Documents = dict[str, list[int]]  # task → document numbers

_FEWEST_DOCUMENTS = 32  # of a share: below that, making the model takes longer than scoring
_PER_WORKER = 2  # shares, so that a slow worker is not waited for long
_WHOLE_TASKS = 4  # tasks for each share, from which no task is cut: its documents may share a prompt's examples


@dataclass(frozen=True)
class Share:
    """A part of a point's documents that one worker scores.

    Attributes:
        key: a hash of the point's content key and the documents; names the share's claim and its file.
        point_key: the point's content key.
        point: the point.
        digest: the digest of the point's weights.
        documents: task → document numbers.
    """

    key: str
    point_key: str
    point: Point
    digest: str
    documents: Documents


class Shares:
    """The shares of points, in a folder that all workers see.

    Args:
        folder: the folder; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._store = folder, ItemStore(folder)

    def describe(self, point: Point, key: str, digest: str, parts: Sequence[Documents]) -> list[Share]:
        """Write which shares a point has, and return them.

        Args:
            point: the point.
            key: its content key.
            digest: the digest of its weights.
            parts: the documents of each share.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        write_text_atomic(self._file(key), json.dumps({"digest": digest, "parts": list(parts)}))
        return [_share(point, key, digest, part) for part in parts]

    def of(self, point: Point, key: str) -> list[Share]:
        """Return the shares of a point; none if it was not cut, or their description is damaged."""
        try:
            described = json.loads(self._file(key).read_text(encoding="utf-8"))
            return [_share(point, key, described["digest"], part) for part in described["parts"]]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def load(self, share: Share) -> Tables | None:
        """Return the scores of a share; None if they are not there."""
        stored = self._store.load(share.key)
        return stored.tables if stored and stored.digest == share.digest else None

    def save(self, share: Share, tables: Tables) -> None:
        """Write the scores of a share."""
        facts: dict[str, Any] = {"share_of": share.point_key, "session": ""}
        self._store.save(share.key, StoredPoint(share.point.id, tables, share.digest, {}), facts)

    def remove(self, shares: Sequence[Share]) -> None:
        """Remove the files of a point's shares: its scores are stored as a whole."""
        for share in shares:
            for path in self._folder.glob(f"*{share.key}.parquet"):
                path.unlink(missing_ok=True)
            self._file(share.point_key).unlink(missing_ok=True)
        with suppress(OSError):  # other points have shares there
            self._folder.rmdir()

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def cut(divisible: Mapping[str, int], n_workers: int, whole: Mapping[str, int]) -> list[Documents]:
    """Cut documents into shares of about equal size.

    If there are many tasks, each stays whole, so that no two workers run the same examples of a prompt.

    Args:
        divisible: task → number of documents, of the tasks that may be cut.
        n_workers: how many workers score them.
        whole: the same, of the tasks that one worker must score alone, since their answers are sampled in an order.
            They are in the first share.

    Returns:
        The documents of each share; one share if there are too few documents.
    """
    all_documents = {task: list(range(n)) for task, n in {**divisible, **whole}.items()}
    n_shares = min(_PER_WORKER * n_workers, sum(divisible.values()) // _FEWEST_DOCUMENTS)
    if n_workers < 2 or n_shares < 2:
        return [all_documents]
    parts: list[Documents] = [{} for _ in range(n_shares)]
    parts[0] |= {task: all_documents[task] for task in whole}
    if len(divisible) >= _WHOLE_TASKS * n_shares:
        for task in sorted(divisible, key=lambda task: divisible[task], reverse=True):
            smallest = min(parts, key=lambda part: sum(map(len, part.values())))
            smallest[task] = all_documents[task]
        return parts
    rows = [(task, i) for task in divisible for i in all_documents[task]]
    for number, part in enumerate(parts):
        for task, i in rows[number * len(rows) // n_shares : (number + 1) * len(rows) // n_shares]:
            part.setdefault(task, []).append(i)
    return parts


def joined_shares(parts: Sequence[Tables], order: Sequence[str]) -> Tables:
    """Return the item tables of a point from those of its shares.

    Args:
        parts: the tables of each share.
        order: the suite's tasks, in its order.
    """
    by_task: dict[str, tuple[str, list[Any]]] = {}
    for tables in parts:
        for entry, some in tables.items():
            for table in some:
                by_task.setdefault(table.task, (entry, []))[1].append(table)
    whole: Tables = {}
    for task in (task for task in order if task in by_task):
        entry, some = by_task[task]
        whole.setdefault(entry, []).append(joined(some) if len(some) > 1 else some[0])
    return whole


def _share(point: Point, key: str, digest: str, documents: Documents) -> Share:
    return Share(content_key(point=key, documents=documents), key, point, digest, documents)
