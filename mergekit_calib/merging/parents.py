"""The models that a recipe names: what they are, their size, and whether they can be merged.

Configs, file headers and hashes of files are enough for that; no weight is loaded.
Relies on mergekit 0.1.5 for `ModelReference`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from mergekit.common import ModelReference
from mergekit.options import MergeOptions

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.checkpoint_files import check_adapter, check_config, check_model_names
from mergekit_calib.merging.json_files import reason_of
from mergekit_calib.merging.tensor_files import TensorFiles, check_depth, check_pickles, stored_shapes, tensor_files

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
        CalibError: a model does not exist, is quantised, is broken, or is in pickle format without mergekit's
            `--lazy-unpickle`. The message names the file.
    """
    check_model_names(names)
    references = {name: _reference(name) for name in names}
    try:
        configs = {name: _config(ref, options) for name, ref in references.items()}
        return {name: _open(ref, configs[name], options) for name, ref in references.items()}
    except OSError as problem:  # a folder that this user may not enter, a disk that fails
        what = problem.filename or "a model"
        raise CalibError(f"{what} cannot be read: {problem.strerror or problem}") from problem


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


def check_depths(models: Iterable[ParentModel]) -> None:
    """Check that models which are merged whole have one number of layers.

    Args:
        models: the models.

    Raises:
        CalibError: two have different numbers.
    """
    first, *others = models
    depths = {m.name: getattr(m.config.get_text_config(), "num_hidden_layers", None) for m in (first, *others)}
    for other in others:
        if depths[other.name] != depths[first.name]:
            raise CalibError(
                f"{first.name} has {depths[first.name]} layers and {other.name} {depths[other.name]} "
                "(num_hidden_layers in config.json): only models of one depth can be merged whole; `slices` takes parts"
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
        try:
            reference.merged(
                cache_dir=options.lora_merge_cache,
                trust_remote_code=options.trust_remote_code,
                lora_merge_dtype=options.lora_merge_dtype,
            )
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as problem:  # of peft
            shutil.rmtree(merged, ignore_errors=True)
            reason = f"{type(problem).__name__}: {reason_of(problem)}"
            raise CalibError(f"LoRA {reference.lora} cannot be merged into {reference.model}: {reason}") from problem
        marker.touch()


def _reference(name: str) -> ModelReference:
    try:
        return ModelReference.parse(name)
    except (RuntimeError, ValueError) as problem:
        raise CalibError(f"model {name!r}: {problem}") from None


def _config(reference: ModelReference, options: MergeOptions) -> transformers.PretrainedConfig:
    check_config(reference.model)
    check_adapter(reference, options.lazy_unpickle)
    try:
        config: transformers.PretrainedConfig = reference.config(trust_remote_code=options.trust_remote_code)
    except Exception as problem:  # a config may hold anything
        reason = reason_of(problem)
        if "custom code" in reason and not options.trust_remote_code:
            reason = "it comes with code of its own, which mergekit's --trust-remote-code allows to run"
        elif "does not recognize this architecture" in reason:
            kind = reason.split("has ")[-1].split(" but ")[0]  # model type `…`
            reason = f"transformers {transformers.__version__} does not know its {kind}"
        raise CalibError(f"model {reference.model}: its config.json cannot be used: {reason}") from problem
    return config


def _open(reference: ModelReference, config: transformers.PretrainedConfig, options: MergeOptions) -> ParentModel:
    try:
        folder = Path(reference.local_path(cache_dir=options.transformers_cache, ignore_lora=True))
    except Exception as problem:  # of the Hub
        raise CalibError(f"model {reference.model}: its weights cannot be fetched: {reason_of(problem)}") from problem
    files = tensor_files(folder, options.lazy_unpickle)
    if files.is_safetensors:
        shapes, dtype = stored_shapes(str(reference.model), files)
        check_depth(folder, config, shapes)
    else:
        check_pickles(folder)
        shapes, dtype = {}, None
    return ParentModel(
        reference=reference,
        config=config,
        folder=folder,
        shapes=shapes,
        dtype=dtype or (config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32),
        n_bytes=sum(f.stat().st_size for f in files.paths),
        fingerprint=fingerprint(merged_files(reference, folder, files)),
    )


def merged_files(reference: ModelReference, folder: Path, files: TensorFiles) -> list[Path]:
    """Return the files that a merge with a model depends on: its config, its weights, and those of its LoRA.

    Args:
        reference: the model.
        folder: the folder of its files.
        files: the files of its weights.
    """
    of_adapter: list[Path] = []
    if reference.lora and os.path.isdir(reference.lora.path):
        of_adapter = sorted(Path(reference.lora.path).glob("adapter_*"))
    return [folder / "config.json", *files.paths, *of_adapter]


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
