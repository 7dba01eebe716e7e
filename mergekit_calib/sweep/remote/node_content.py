"""What a point's scores depend on, as one machine has it, and how two machines are compared.

A point's content key holds fingerprints with times of change and stays the driver's. A node must have the same files,
tasks and packages; otherwise its scores would be filed under a key that is not theirs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mergekit_calib.errors import ScorerRefusedError
from mergekit_calib.merging.file_contents import content_fingerprint, content_of_model
from mergekit_calib.merging.tokenizer import tokenizer_files
from mergekit_calib.storage.atomic import write_text_atomic
from mergekit_calib.storage.locks import exclusive
from mergekit_calib.sweep.prepared import Prepared
from mergekit_calib.versions import versions

_MAY_DIFFER = ("torch", "optuna")  # builds of torch differ by device; the node does not search

FilesOfModels = dict[str, dict[str, str]]
"""Model → the name of each file that scores depend on → the SHA-256 of its contents."""


@dataclass(frozen=True)
class NodeContent:
    """What a point's scores depend on, as one machine has it.

    Attributes:
        files: the parents' files and the tokenizer's.
        suite: the tasks, as `Suite.describe` describes them.
        packages: package → its version.
    """

    files: FilesOfModels
    suite: list[dict[str, Any]]
    packages: dict[str, str]

    def check(self, other: NodeContent, node: str) -> list[str]:
        """Check that a node has what this machine, the driver's, has.

        Args:
            other: what the node has.
            node: the node's name.

        Returns:
            Differences that do not stop the run, a sentence for each.

        Raises:
            ScorerRefusedError: it has other packages, files or tasks; the message names the first difference.
        """
        notes = []
        for package, version in self.packages.items():
            if (there := other.packages.get(package)) != version:
                text = f"{node} has {package} {there or 'not'}, the driver has {version}"
                if package not in _MAY_DIFFER:
                    raise ScorerRefusedError(f"{text}; install the same version there")
                notes.append(text)
        for model, files in self.files.items():
            there_files = other.files.get(model, {})
            for file in sorted({*files, *there_files}):
                if files.get(file) != there_files.get(file):
                    raise ScorerRefusedError(
                        f"{node}: {model}: {file} {_difference(files.get(file), there_files.get(file))}; "
                        "every node needs the same files"
                    )
        for mine, theirs in zip(self.suite, other.suite, strict=True):
            for key, value in mine.items():
                if theirs.get(key) != value:
                    entry = mine["entry"].get("name") or mine["entry"].get("task")
                    raise ScorerRefusedError(f"{node}: suite entry {entry}: its {key} differ from those of the driver")
        return notes

    def as_plain(self) -> dict[str, Any]:
        """Return the contents as plain data."""
        return asdict(self)


def content_here(prepared: Prepared, cache: Path | None = None) -> NodeContent:
    """Return what the scores of a sweep's points depend on, as this machine has it.

    Args:
        prepared: the sweep.
        cache: a file that keeps the hashes for other processes of this machine; None for none.

    Raises:
        OSError: a file cannot be read.
    """
    described = json.loads(json.dumps(prepared.suite.describe(), default=str))
    return NodeContent(_files(prepared, cache), described, versions())


def _files(prepared: Prepared, cache: Path | None) -> FilesOfModels:
    """Return the hashes of the files, from the cache if it is of the same files."""
    if cache is None:
        return _hashed(prepared)
    fingerprints = {name: model.fingerprint for name, model in prepared.models.items()}
    with exclusive(cache.with_suffix(".lock")):
        known = _read(cache)
        if known.get("fingerprints") != fingerprints:
            known = {"fingerprints": fingerprints, "files": _hashed(prepared)}
            write_text_atomic(cache, json.dumps(known))
    files: FilesOfModels = known["files"]
    return files


def _hashed(prepared: Prepared) -> FilesOfModels:
    files = {name: content_of_model(model, prepared.options) for name, model in prepared.models.items()}
    for name, model in prepared.models.items():
        if prepared.tokenizer.folder in (None, model.tokenizer_folder):
            files[name] |= content_fingerprint(tokenizer_files([model.tokenizer_folder]))
    return files


def _read(cache: Path) -> Mapping[str, Any]:
    try:
        known = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) and isinstance(known.get("files"), dict) else {}


def _difference(mine: str | None, theirs: str | None) -> str:
    if theirs is None:
        return "is missing"
    return "is not on the driver's machine" if mine is None else "is not the driver's (its contents differ)"
