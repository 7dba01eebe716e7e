"""Hashes of the contents of files alone, by which copies on other machines are compared.

`parents.fingerprint`, which content keys are made of, takes the time of change of large files, so it differs between
equal copies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mergekit.options import MergeOptions

from mergekit_calib.merging.parents import ParentModel, merged_files
from mergekit_calib.merging.tensor_files import tensor_files

_THREADS = 8  # hashing releases Python's lock, so the files of a model are hashed side by side
_BLOCK = 1 << 22  # bytes that are read at once


def content_fingerprint(files: Iterable[Path]) -> dict[str, str]:
    """Return the name of each file → the SHA-256 of all of its bytes; nothing is sampled, and no time counts.

    Args:
        files: the files, no two with one name.

    Raises:
        OSError: a file cannot be read.
    """
    paths = list(files)
    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip((path.name for path in paths), pool.map(_sha256, paths), strict=True))


def content_of_model(model: ParentModel, options: MergeOptions) -> dict[str, str]:
    """Return the content fingerprint of the files that a merge with a model depends on.

    Args:
        model: the model.
        options: mergekit's options.

    Raises:
        OSError: a file cannot be read.
    """
    files = tensor_files(model.folder, options.lazy_unpickle)
    return content_fingerprint(merged_files(model.reference, model.folder, files))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
