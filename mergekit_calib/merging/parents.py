"""The models that a recipe names: what they are, their size, and whether they can be merged.

Configs, file headers and hashes of files are enough for that; no weight is loaded.
Relies on mergekit 0.1.5 for `ModelReference` and `ShardedTensorIndex`.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import torch
import transformers
from mergekit.common import ModelReference
from mergekit.io.lazy_tensor_loader import ShardedTensorIndex
from mergekit.options import MergeOptions

from mergekit_calib.errors import CalibError

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_SAMPLED_ABOVE = 64 << 20  # bytes; of larger files only samples are hashed, so that 16 GB take less than a minute
_N_SAMPLES, _SAMPLE_BYTES = 64, 1 << 16


@dataclass(frozen=True)
class ParentModel:
    """One model of the recipe, on disk or in the hub's cache.

    Attributes:
        reference: the model as mergekit parses it, with its LoRA.
        config: its transformers config.
        folder: the folder of its files, without the LoRA's.
        shapes: tensor name → shape, in the files, so without the LoRA applied; empty for pickle files.
        dtype: the dtype that most of its numbers are stored in.
        n_bytes: the size of its weights in bytes.
        fingerprint: a hash that changes if the weights, the LoRA or the config change.
    """

    reference: ModelReference
    config: transformers.PretrainedConfig = field(repr=False)
    folder: Path
    shapes: dict[str, tuple[int, ...]] = field(repr=False)
    dtype: torch.dtype
    n_bytes: int
    fingerprint: str

    @property
    def name(self) -> str:
        """The model as the recipe names it."""
        return str(self.reference)

    @property
    def tokenizer_folder(self) -> Path:
        """The folder of its tokenizer files: the LoRA's, if that has some."""
        if self.reference.lora and (Path(self.reference.lora.path) / "tokenizer_config.json").exists():
            return Path(self.reference.lora.path)
        return self.folder


def open_parents(names: Sequence[str], options: MergeOptions) -> dict[str, ParentModel]:
    """Return name → model, for every model that a recipe names.

    The configs of all models are read before the weights of any are fetched from the hub.

    Args:
        names: the models, as the recipe names them.
        options: mergekit's options.

    Raises:
        CalibError: a model does not exist, cannot be read, or is in pickle format without mergekit's `--lazy-unpickle`.
    """
    references = {name: _reference(name) for name in names}
    configs = {name: _config(ref, options) for name, ref in references.items()}
    return {name: _open(ref, configs[name], options) for name, ref in references.items()}


def check_architectures(models: Iterable[ParentModel], options: MergeOptions) -> None:
    """Check that the models have one architecture.

    Args:
        models: the models.
        options: mergekit's options.

    Raises:
        CalibError: two models have different architectures; with `--allow-crimes` that is no error.
    """
    first, *others = models
    for other in others:
        of_first, of_other = (", ".join(m.config.architectures or ()) for m in (first, other))
        if of_first != of_other and not options.allow_crimes:
            raise CalibError(
                f"{first.name} is a {of_first} and {other.name} a {of_other}: only models of one "
                "architecture can be merged (mergekit's --allow-crimes tries it anyway)"
            )


def check_disk(folder: Path, n_bytes: int) -> None:
    """Check that the file system of a folder has enough free space.

    Args:
        folder: the folder; it need not exist.
        n_bytes: how many bytes are needed.

    Raises:
        CalibError: it has not; the message has both numbers.
    """
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < n_bytes:
        raise CalibError(f"{folder} needs about {n_bytes / 1e9:.1f} GB of disk, and {free / 1e9:.1f} GB are free there")


def apply_adapters(models: Iterable[ParentModel], options: MergeOptions) -> None:
    """Merge each LoRA into its model, once, in the folder of `--lora-merge-cache`.

    A marker file beside a merged folder says that it is complete. mergekit itself uses any folder that exists, even an
    incomplete one from a killed run.

    Args:
        models: the models that the recipe names.
        options: mergekit's options; `lora_merge_cache` must be set.
    """
    for model in models:
        if model.reference.lora is None:
            continue
        assert options.lora_merge_cache is not None
        reference = model.reference
        merged = Path(options.lora_merge_cache) / f"{reference.model._unique_id()}_{reference.lora._unique_id()}"
        marker = merged.with_name(merged.name + f".{model.fingerprint}.whole")
        if merged.exists() and not marker.exists() and merged.is_relative_to(options.lora_merge_cache):
            shutil.rmtree(merged)
        reference.merged(
            cache_dir=options.lora_merge_cache,
            trust_remote_code=options.trust_remote_code,
            lora_merge_dtype=options.lora_merge_dtype,
        )
        marker.touch()


def _reference(name: str) -> ModelReference:
    try:
        return ModelReference.parse(name)
    except (RuntimeError, ValueError) as problem:
        raise CalibError(f"model {name!r}: {problem}") from None


def _config(reference: ModelReference, options: MergeOptions) -> transformers.PretrainedConfig:
    for path in filter(None, (reference.model, reference.lora)):
        local = path.path.startswith((".", "/", "~")) or path.path.count("/") > 1 or "\\" in path.path
        if local and not os.path.exists(path.path):
            raise CalibError(f"model {path.path!r} does not exist: no such folder (relative to {os.getcwd()})")
    try:
        config: transformers.PretrainedConfig = reference.config(trust_remote_code=options.trust_remote_code)
    except Exception as problem:
        here = os.path.isdir(reference.model.path)
        where = "its config.json cannot be read" if here else "no such local folder, and not found on the Hub"
        first_line = str(problem).strip().split("\n")[0]
        raise CalibError(f"model {reference.model}: {where}: {first_line}") from problem
    return config


def _open(reference: ModelReference, config: transformers.PretrainedConfig, options: MergeOptions) -> ParentModel:
    try:
        folder = Path(reference.local_path(cache_dir=options.transformers_cache, ignore_lora=True))
        index = ShardedTensorIndex.from_disk(str(folder))
    except Exception as problem:
        raise CalibError(f"model {reference.model}: its weights cannot be found: {problem}") from problem
    files = sorted({folder / name for name in index.tensor_paths.values()})
    if not index.is_safetensors and not options.lazy_unpickle:
        raise CalibError(
            f"model {reference.model} is in pickle format ({files[0].name}), which can run code when it is read; "
            "convert it to safetensors, or allow it with mergekit's --lazy-unpickle"
        )
    if missing := [f for f in files if not f.exists()]:
        raise CalibError(f"model {reference.model}: its index names {missing[0].name}, which is missing")
    hashed = [folder / "config.json", *files]
    if reference.lora and os.path.isdir(reference.lora.path):
        hashed += sorted(Path(reference.lora.path).glob("adapter_*"))
    shapes, dtype = _headers(files) if index.is_safetensors else ({}, None)
    return ParentModel(
        reference=reference,
        config=config,
        folder=folder,
        shapes=shapes,
        dtype=dtype or (config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32),
        n_bytes=sum(f.stat().st_size for f in files),
        fingerprint=fingerprint(hashed),
    )


def _headers(files: Sequence[Path]) -> tuple[dict[str, tuple[int, ...]], torch.dtype | None]:
    """Return tensor name → shape, and the dtype of most numbers, or None if mergekit does not know it."""
    shapes, n_numbers = {}, Counter[torch.dtype]()
    for file in files:
        with safetensors.safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                part = tensors.get_slice(name)
                shapes[name] = tuple(part.get_shape())
                if part.get_dtype() in _DTYPES:
                    n_numbers[_DTYPES[part.get_dtype()]] += math.prod(shapes[name])
    return shapes, n_numbers.most_common(1)[0][0] if n_numbers else None


def fingerprint(files: Iterable[Path]) -> str:
    """Return a hash of the files' contents; for a file above 64 MiB, of samples, its size and its time of change."""
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        digest.update(f"{file.name}:{status.st_size}:".encode())
        with file.open("rb") as stream:
            if status.st_size <= _SAMPLED_ABOVE:
                digest.update(stream.read())
                continue
            digest.update(str(status.st_mtime_ns).encode())
            for i in range(_N_SAMPLES):
                stream.seek((status.st_size - _SAMPLE_BYTES) * i // (_N_SAMPLES - 1))
                digest.update(stream.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:32]
