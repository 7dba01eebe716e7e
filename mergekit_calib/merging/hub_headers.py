"""Models of the Hub, known by their small files and the headers of their weights alone.

A model whose weights are not in the cache gets a folder of its own in a temporary cache: its configs and its tokenizer
as they are on the Hub, and weight files that have the true header and the true size, but hold no numbers and take no
disk (they are sparse). Every check that reads headers works on them as on the real ones.

It relies on mergekit 0.1.5 for `ModelReference.local_path`, which fetches `*.json`, `tokenizer.model` and all
`*.safetensors` into the cache of `transformers_cache`, and on huggingface_hub for the layout of its cache
(`models--owner--name/snapshots/COMMIT`), in which a file that exists is not fetched.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import constants
from mergekit.common import ModelPath, ModelReference
from mergekit.options import MergeOptions

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.json_files import reason_of

_SMALL = ["*.json", "tokenizer.model"]
_WEIGHTS = ".safetensors"


@contextmanager
def header_cache(names: Iterable[str], options: MergeOptions) -> Iterator[MergeOptions]:
    """Give options with which no weights are fetched from the Hub, within the `with` block.

    Args:
        names: the models, as the recipe names them.
        options: mergekit's options.

    Raises:
        CalibError: a model's headers cannot be fetched, or its weights are pickles, which have no header.
    """
    missing = [model for model in map(_hub_model, names) if model is not None and not _is_cached(model, options)]
    if not missing:
        yield options
        return
    with tempfile.TemporaryDirectory(prefix="mergekit-calib-headers-") as folder:
        cache = Path(folder)
        for model in dict.fromkeys(missing):
            try:
                _fetch_headers(model, cache)
            except CalibError:
                raise
            except Exception as problem:  # of several libraries: no network, no access, no such name
                reason = f"its headers cannot be fetched from the Hub: {reason_of(problem)}"
                raise CalibError(f"model {model}: {reason}") from problem
        _link_others(cache, options)
        yield options.model_copy(update={"transformers_cache": str(cache)})


def _hub_model(name: str) -> ModelPath | None:
    """Return a model that is named as one of the Hub; None for a folder, and for what preflight will refuse."""
    try:
        model = ModelReference.parse(name).model
    except (RuntimeError, ValueError):
        return None
    is_local = os.path.lexists(model.path) or model.path.startswith((".", "/", "~"))
    return None if is_local or model.path.count("/") > 1 or "\\" in model.path else model


def _is_cached(model: ModelPath, options: MergeOptions) -> bool:
    """Return whether the weights that mergekit would fetch now are in the cache, or there is no telling."""
    if constants.HF_HUB_OFFLINE:
        return True
    try:
        info = huggingface_hub.HfApi().model_info(model.path, revision=model.revision)
    except Exception:  # preflight says what is wrong
        return True
    cache = Path(options.transformers_cache or constants.HF_HUB_CACHE)
    snapshot = cache / _repo_folder(model) / "snapshots" / str(info.sha)
    files = _files_of(info)
    weights = [name for name in files if name.endswith(_WEIGHTS)] or [name for name in files if name.endswith(".bin")]
    return all((snapshot / name).exists() for name in weights)


def _fetch_headers(model: ModelPath, cache: Path) -> None:
    """Put a model's small files into a cache, and weight files that have a header and nothing else."""
    api = huggingface_hub.HfApi()
    info = api.model_info(model.path, revision=model.revision)
    weights = [name for name in _files_of(info) if name.endswith(_WEIGHTS)]
    if not weights:
        raise CalibError(
            f"model {model}: its weights are no safetensors, so they have no header that tells their shapes without "
            "fetching them; use a repository that has them as safetensors"
        )
    small = huggingface_hub.snapshot_download(
        model.path, revision=model.revision, cache_dir=cache, allow_patterns=_SMALL
    )
    for name in weights:
        metadata = api.parse_safetensors_file_metadata(model.path, name, revision=info.sha)
        write_stub(Path(small) / name, metadata.tensors)


def write_stub(path: Path, tensors: Any) -> None:
    """Write a safetensors file with a header and no numbers; its size is that of the real one, but it takes no disk.

    Args:
        path: the file.
        tensors: tensor name → its dtype, shape and offsets, as huggingface_hub reads them.
    """
    entries = {
        name: {"dtype": part.dtype, "shape": list(part.shape), "data_offsets": list(part.data_offsets)}
        for name, part in tensors.items()
    }
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + max((entry["data_offsets"][1] for entry in entries.values()), default=0))


def _link_others(cache: Path, options: MergeOptions) -> None:
    """Make the models of the real cache available in a cache that has only some."""
    real = Path(options.transformers_cache or constants.HF_HUB_CACHE)
    for folder in real.glob("models--*"):
        if not (cache / folder.name).exists():
            (cache / folder.name).symlink_to(folder.resolve(), target_is_directory=True)


def _repo_folder(model: ModelPath) -> str:
    return "models--" + str(model.path).replace("/", "--")


def _files_of(info: Any) -> list[str]:
    return [sibling.rfilename for sibling in info.siblings or ()]
