"""The models that a sweep names: whether they can be merged, what they are, and what they weigh.

Everything here is found out from configurations and file headers, before any weight is loaded.
Relied on in mergekit 0.1.5: `ModelReference`, `ShardedTensorIndex`.
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
_SAMPLED_ABOVE = 64 << 20  # bytes; larger files are fingerprinted by samples, so that a 16 GB parent takes no minute
_SAMPLES, _SAMPLE = 64, 1 << 16


@dataclass(frozen=True)
class ParentModel:
    """One model of the recipe, as found on disk or in the hub's cache.

    Attributes:
        reference: the model as mergekit parses it, LoRA included.
        config: its transformers configuration.
        folder: its files, without the LoRA.
        shapes: tensor name → shape, of the files as they are (the LoRA not applied).
        dtype: that most of their numbers are stored in.
        n_bytes: size of its weights, bytes.
        fingerprint: changes when the weights, the LoRA or the configuration do.
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
        return str(self.reference)

    @property
    def tokenizer_folder(self) -> Path:
        """Where its tokenizer files are: the LoRA's folder where that carries some."""
        if self.reference.lora and (Path(self.reference.lora.path) / "tokenizer_config.json").exists():
            return Path(self.reference.lora.path)
        return self.folder


def open_parents(names: Sequence[str], options: MergeOptions) -> dict[str, ParentModel]:
    """Every model that a recipe names, by that name.

    Configurations of all models are read before the weights of any are fetched from the hub.

    Raises:
        CalibError: a model does not exist, cannot be read, or is in pickle format without mergekit's `--lazy-unpickle`.
    """
    references = {name: _reference(name) for name in names}
    configs = {name: _config(ref, options) for name, ref in references.items()}
    return {name: _open(ref, configs[name], options) for name, ref in references.items()}


def check_compatible(models: Iterable[ParentModel], options: MergeOptions, vocabulary_may_differ: bool) -> None:
    """That the models can be merged tensor by tensor.

    Raises:
        CalibError: two have different architectures (unless `--allow-crimes`), or a tensor of different shapes.
    """
    first, *others = models
    for other in others:
        mine, theirs = (tuple(m.config.architectures or ()) for m in (first, other))
        if mine != theirs and not options.allow_crimes:
            raise CalibError(
                f"{first.name} is a {', '.join(mine)} and {other.name} a {', '.join(theirs)}: only models of one "
                "architecture can be merged (mergekit's --allow-crimes tries all the same)"
            )
        for name in first.shapes.keys() & other.shapes.keys():
            a, b = first.shapes[name], other.shapes[name]
            vocabulary = a[1:] == b[1:] and (vocabulary_may_differ or options.unsafe_truncate_embeddings)
            if a != b and not vocabulary and not options.allow_crimes:
                hint = ""
                if a[1:] == b[1:]:
                    hint = "; vocabularies of different size need `tokenizer: {source: union}` or `tokenizer_source`"
                raise CalibError(f"tensor {name} is {list(a)} in {first.name} and {list(b)} in {other.name}{hint}")


def check_disk(folder: Path, n_bytes: int) -> None:
    """That `folder`'s file system has room for `n_bytes`.

    Raises:
        CalibError: stating both numbers.
    """
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < n_bytes:
        raise CalibError(f"{folder} needs about {n_bytes / 1e9:.1f} GB of disk, and {free / 1e9:.1f} GB are free there")


def apply_adapters(models: Iterable[ParentModel], options: MergeOptions) -> None:
    """Merge each LoRA into its model, once, in the folder of `--lora-merge-cache`.

    A marker says that a merged folder is whole: mergekit takes any folder that exists, also one that a killed run left.
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
        return reference.config(trust_remote_code=options.trust_remote_code)
    except Exception as problem:
        here = os.path.isdir(reference.model.path)
        where = "its config.json cannot be read" if here else "it is neither a folder here nor to be had from the hub"
        first_line = str(problem).strip().split("\n")[0]
        raise CalibError(f"model {reference.model}: {where}: {first_line}") from problem


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
            "convert it to safetensors, or admit it with mergekit's --lazy-unpickle"
        )
    if missing := [f for f in files if not f.exists()]:
        raise CalibError(f"model {reference.model}: its index names {missing[0].name}, which is not there")
    described = [folder / "config.json", *files]
    if reference.lora and os.path.isdir(reference.lora.path):
        described += sorted(Path(reference.lora.path).glob("adapter_*"))
    shapes, dtype = _headers(files) if index.is_safetensors else ({}, None)
    return ParentModel(
        reference=reference,
        config=config,
        folder=folder,
        shapes=shapes,
        dtype=dtype or (config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32),
        n_bytes=sum(f.stat().st_size for f in files),
        fingerprint=fingerprint(described),
    )


def _headers(files: Sequence[Path]) -> tuple[dict[str, tuple[int, ...]], torch.dtype | None]:
    """Tensor name → shape, and the dtype of most numbers where mergekit knows it."""
    shapes, numbers = {}, Counter[torch.dtype]()
    for file in files:
        with safetensors.safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                part = tensors.get_slice(name)
                shapes[name] = tuple(part.get_shape())
                if part.get_dtype() in _DTYPES:
                    numbers[_DTYPES[part.get_dtype()]] += math.prod(shapes[name])
    return shapes, numbers.most_common(1)[0][0] if numbers else None


def fingerprint(files: Iterable[Path]) -> str:
    """A hash of the files' contents; of evenly spread samples, size and time of change for those above 64 MB."""
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        digest.update(f"{file.name}:{status.st_size}:".encode())
        with file.open("rb") as stream:
            if status.st_size <= _SAMPLED_ABOVE:
                digest.update(stream.read())
                continue
            digest.update(str(status.st_mtime_ns).encode())
            for i in range(_SAMPLES):
                stream.seek((status.st_size - _SAMPLE) * i // (_SAMPLES - 1))
                digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()[:32]
