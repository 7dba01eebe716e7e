"""The files that hold a model's weights: which they are, and what their headers say. No weight is loaded.

Relies on mergekit 0.1.5 for which files it takes (`ShardedTensorIndex.from_disk`).
"""

from __future__ import annotations

import contextlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import safetensors
import torch
import transformers
from mergekit.io.lazy_tensor_loader import ShardedTensorIndex

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.json_files import read_json, reason_of

_SAFETENSORS, _PICKLE = "model.safetensors", "pytorch_model.bin"
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_LAYER = re.compile(r"(.*?)\.(\d+)\.")


@dataclass(frozen=True)
class TensorFiles:
    """The files that mergekit reads a model's weights from.

    Attributes:
        paths: the files.
        names: file → the tensors that are read from it.
        is_safetensors: whether they are in safetensors format; otherwise they are pickles.
    """

    paths: list[Path]
    names: dict[Path, list[str]]
    is_safetensors: bool


def tensor_files(folder: Path, lazy_unpickle: bool) -> TensorFiles:
    """Return the files that mergekit reads a model's weights from.

    Args:
        folder: the model's folder.
        lazy_unpickle: whether pickles may be read (mergekit's `--lazy-unpickle`).

    Raises:
        CalibError: there are none, one is missing or a pickle, or their index is broken.
    """
    for name in (_SAFETENSORS, _PICKLE):
        path, index = folder / name, folder / f"{name}.index.json"
        if not path.exists() and not index.exists():
            continue
        places = _indexed(folder, index) if index.exists() else {}
        files = sorted({folder / file for file in places.values()}) if index.exists() else [path]
        if name == _PICKLE and not lazy_unpickle:
            raise CalibError(
                f"{files[0]} is in pickle format, which can run code when it is read; convert it to safetensors "
                "(`save_pretrained` of transformers does), or allow it with mergekit's --lazy-unpickle"
            )
        for file in files:
            if not file.is_file():
                problem = "is missing" if not file.exists() else "is no file"
                source = f", which {index.name} names," if index.exists() else ""
                raise CalibError(f"{file}{source} {problem}; fetch the model again")
        names = {file: [t for t, place in places.items() if folder / place == file] for file in files}
        return TensorFiles(files, names, name == _SAFETENSORS)
    raise CalibError(_no_weights(folder))


def _indexed(folder: Path, index: Path) -> dict[str, str]:
    """Return tensor → file name, from an index."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(file, str) for file in places.values()):
        raise CalibError(f"{index}: weight_map is no mapping of tensors to files; fetch it again")
    for file in places.values():
        if PurePath(file).is_absolute() or ".." in PurePath(file).parts or "\\" in file:
            raise CalibError(f"{index}: weight_map names {file[:80]!r}, which is outside the model's folder")
    return places


def _no_weights(folder: Path) -> str:
    others = sorted(
        path.name for path in folder.iterdir() if path.suffix in (".gguf", ".bin", ".pt", ".pth", ".safetensors")
    )
    links = [name for name in (_SAFETENSORS, _PICKLE) if (folder / name).is_symlink()]
    found = f"; it holds {', '.join(others[:3])}, which is not read" if others else ""
    if links:
        found = f"; {links[0]} is a link to a file that does not exist"
    return f"{folder} has no weights: neither {_SAFETENSORS} nor its index (model.safetensors.index.json){found}"


@contextlib.contextmanager
def safetensors_file(path: Path) -> Iterator[Any]:
    """Open a safetensors file, whose header safetensors checks against the file's size, for the `with` block.

    Args:
        path: the file.

    Raises:
        CalibError: it cannot be read, is cut off, or its header is broken.
    """
    try:
        with path.open("rb"):  # safetensors says that a file does not exist if it may not be read
            opened = safetensors.safe_open(path, framework="pt")
    except OSError as problem:
        raise CalibError(f"{path} cannot be read: {problem.strerror or problem}") from problem
    except Exception as problem:  # SafetensorError
        if "cannot allocate memory" in str(problem).lower():
            raise
        reason = reason_of(problem).removeprefix("Error while deserializing header: ")
        raise CalibError(f"{path} is no whole safetensors file ({reason}); fetch it again") from problem
    with opened as tensors:
        yield tensors


def check_pickles(folder: Path) -> None:
    """Check that mergekit finds the tensors of a model in pickle format, for which it reads the pickles.

    Args:
        folder: the model's folder.

    Raises:
        CalibError: a pickle holds anything but tensors; torch reads nothing else.
    """
    try:
        ShardedTensorIndex.from_disk(str(folder))
    except Exception as problem:  # of pickle and torch
        raise CalibError(
            f"{folder / _PICKLE} holds more than tensors, or is broken ({type(problem).__name__}), so it is not read; "
            "convert it to safetensors"
        ) from problem


def stored_shapes(model: str, files: TensorFiles) -> tuple[dict[str, tuple[int, ...]], torch.dtype | None]:
    """Return tensor name → shape, and the dtype of most numbers, or None if there are none.

    Args:
        model: the model, for messages.
        files: its files.

    Raises:
        CalibError: most numbers are no floating-point numbers that mergekit can merge.
    """
    shapes, n_numbers, n_weights = {}, Counter[str](), Counter[str]()
    for file in files.paths:
        with safetensors_file(file) as tensors:
            stored = tensors.keys()
            for name in sorted({*stored} & {*files.names[file]}) if files.names[file] else stored:
                part = tensors.get_slice(name)
                shapes[name] = tuple(part.get_shape())
                n_numbers[part.get_dtype()] += math.prod(shapes[name])
                if name.endswith("weight"):  # masks, which some models store, are numbers of other kinds
                    n_weights[part.get_dtype()] += math.prod(shapes[name])
    stored_as = n_weights.most_common(1)[0][0] if n_weights else None
    if stored_as is not None and stored_as not in _DTYPES:
        raise CalibError(
            f"model {model}: most of its weights are stored as {stored_as}, so they are quantised and cannot be "
            "merged; use the repository with the full weights that it was made from"
        )
    known = Counter({_DTYPES[dtype]: n for dtype, n in n_numbers.items() if dtype in _DTYPES})
    return shapes, known.most_common(1)[0][0] if known else None


def check_depth(folder: Path, config: transformers.PretrainedConfig, shapes: Iterable[str]) -> None:
    """Check that the files have as many layers as the config says, before anything is made for each of them.

    Args:
        folder: the model's folder.
        config: its config.
        shapes: the names of its tensors.

    Raises:
        CalibError: the config says more.
    """
    layers = getattr(config.get_text_config(), "num_hidden_layers", None)
    stems: dict[str, set[str]] = {}
    for name in shapes:
        if match := _LAYER.match(name):
            stems.setdefault(match.group(1), set()).add(match.group(2))
    deepest = max(map(len, stems.values()), default=0)
    if isinstance(layers, int) and 0 < deepest < layers:
        problem = f"num_hidden_layers is {layers:,}, but the weights beside it have {deepest} layers"
        raise CalibError(f"{folder / 'config.json'}: {problem}; fetch the model again")
