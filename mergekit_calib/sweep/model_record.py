"""The record of the written model: which files belong to it, with a hash of each.

A run into a finished folder compares every file with its hash, however large the model is. Times of change would be
quicker, but they do not change when a disk loses a bit, and copies keep them; reading a model takes less time than
writing it again, and a run into a finished folder is rare.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel, ValidationError

from mergekit_calib.storage.atomic import write_text_atomic

_BLOCK = 1 << 24  # bytes that are read at a time
_READERS = 4  # files that are hashed at the same time
_WEIGHTS = re.compile(r"(model.*\.safetensors|pytorch_model.*\.bin)(\.index\.json)?")


class FileRecord(BaseModel, frozen=True):
    """A file of a model.

    Attributes:
        bytes: its size.
        sha256: the hash of its contents.
    """

    bytes: int
    sha256: str


class ModelRecord(BaseModel, frozen=True):
    """The model in a folder, as it was written.

    Attributes:
        digest: the digest of its weights.
        point: the id of the point that it is.
        files: path relative to the folder → the file.
    """

    digest: str
    point: str
    files: dict[str, FileRecord]

    @classmethod
    def of(cls, folder: Path, digest: str, point: str) -> ModelRecord:
        """Return the record of all files in a folder."""
        names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
        with ThreadPoolExecutor(_READERS) as readers:
            files = readers.map(lambda name: _file_record(folder / name), names)
            return cls(digest=digest, point=point, files=dict(zip(names, files, strict=True)))

    @classmethod
    def load(cls, path: Path) -> ModelRecord | None:
        """Read a record; None if there is none, or it cannot be read."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (FileNotFoundError, IsADirectoryError, ValidationError):
            return None

    def save(self, path: Path) -> None:
        """Write the record to a file."""
        write_text_atomic(path, self.model_dump_json(indent=1) + "\n")

    def problems(self, folder: Path) -> dict[str, str]:
        """Return name → what is wrong with it, of the files in `folder` that are not as they were written."""
        with ThreadPoolExecutor(_READERS) as readers:
            found = readers.map(lambda item: _problem(folder / item[0], item[1]), self.files.items())
            problems = {name: problem for name, problem in zip(self.files, found, strict=True) if problem}
        others = {path.name for path in weight_files(folder)} - self.files.keys()
        return problems | dict.fromkeys(sorted(others), "is not part of the model")


def weight_files(folder: Path) -> Iterator[Path]:
    """Yield what stands where a model's weights are."""
    yield from (path for path in folder.glob("*") if is_weights(path.name))


def is_weights(name: str) -> bool:
    """Return whether a file of that name holds weights, or says in which files they are."""
    return _WEIGHTS.fullmatch(name) is not None


def _problem(path: Path, record: FileRecord) -> str | None:
    try:
        if not path.is_file():
            return "is no file" if path.exists() else "is missing"
        n_bytes = path.stat().st_size
        if n_bytes != record.bytes:
            return f"has {n_bytes:,} of {record.bytes:,} bytes" if n_bytes < record.bytes else "is too long"
        return None if _file_record(path) == record else "is not as it was written"
    except OSError as problem:
        return f"cannot be read ({problem.strerror or problem})"


def _file_record(path: Path) -> FileRecord:
    digest, n_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            n_bytes += len(block)
    return FileRecord(bytes=n_bytes, sha256=digest.hexdigest())
