"""Checks of a model's name, its config.json and its LoRA, before transformers, mergekit or peft use them.

Nothing here loads a weight or runs code of the checkpoint. Relies on mergekit 0.1.5 for how it reads a model's name
(`ModelReference`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import transformers
from mergekit import common
from mergekit.common import ModelPath, ModelReference
from transformers.utils.hub import cached_file

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.json_files import read_json, reason_of
from mergekit_calib.merging.tensor_files import safetensors_file

_MOST_LAYERS = 10_000  # transformers and mergekit make objects for each layer before they look at the weights
_LAYER_KEYS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers", "depth")
_ADAPTER = "adapter_config.json"

# How transformers makes full weights of quantised ones; it cannot for other kinds.
_DEQUANTISED_BY = {
    "fp8": "`FineGrainedFP8Config(dequantize=True)`",
    "mxfp4": "`Mxfp4Config(dequantize=True)`",
    "compressed-tensors": "`CompressedTensorsConfig(dequantize=True)`",
    "bitsandbytes": "`.dequantize()`",
}


def check_model_names(names: Iterable[str]) -> None:
    """Check that mergekit reads no folder's name as something else.

    Args:
        names: the models, as the recipe names them.

    Raises:
        CalibError: a folder's name has an `@` or a `+`.
    """
    for name in names:
        parts = [name, *name.split("+")] if "+" in name or "@" in name else []
        for part in parts:
            signs = [sign for sign in "@+" if sign in part]
            if signs and os.path.exists(os.path.expanduser(part)) and not os.path.exists(part.split(signs[0])[0]):
                meaning = {"@": "a revision", "+": "a LoRA"}[signs[0]]
                raise CalibError(
                    f"model {part!r}: mergekit reads what follows {signs[0]!r} in a model's name as {meaning}, so it "
                    "cannot read this folder; rename the folder, or name a symbolic link to it"
                )


def check_config(model: ModelPath) -> None:
    """Check a model's config.json as far as transformers would fail on it or take very long, or mergekit be misled.

    Args:
        model: the model, a folder or a repository on the Hub.

    Raises:
        CalibError: the model is missing, is a LoRA alone, is quantised, or its config.json is broken.
    """
    content, where = _config_of(model)
    kind = content.get("model_type")
    if not isinstance(kind, str):
        found = "model_type is missing" if kind is None else f"model_type is {kind!r}"
        raise CalibError(f'{where}: {found}; a name such as "llama" is needed: fetch the file again')
    given = content.get("architectures")
    if not (isinstance(given, list) and given and all(isinstance(each, str) for each in given)):
        problem = f'architectures is {given!r}; a list of one class is needed, such as ["LlamaForCausalLM"]'
        raise CalibError(f"{where}: {problem}")
    for part in (content, content.get("text_config")):
        if isinstance(part, dict) and part.get("quantization_config") is not None:
            raise CalibError(_quantised(where, part["quantization_config"]))
    for key, value in _layer_counts(content):
        if isinstance(value, int) and not 0 < value <= _MOST_LAYERS:
            raise CalibError(f"{where}: {key} is {value}; between 1 and {_MOST_LAYERS:,} is possible: fetch it again")


def _config_of(model: ModelPath) -> tuple[dict[str, Any], str]:
    """Return the contents of a model's config.json, and its name for messages."""
    folder = Path(model.path)
    if not os.path.lexists(folder):
        if model.path.startswith((".", "/", "~")) or model.path.count("/") > 1 or "\\" in model.path:
            raise CalibError(f"model {model.path!r} does not exist: no such folder (relative to {os.getcwd()})")
        try:
            content, _ = transformers.PretrainedConfig.get_config_dict(model.path, revision=model.revision)
        except Exception as problem:  # of several libraries: no network, no access, no such name
            if _has_adapter(model):
                raise CalibError(_adapter_alone(str(model))) from problem
            problem_text = f"no such local folder, and not found on the Hub: {reason_of(problem)}"
            raise CalibError(f"model {model}: {problem_text}") from problem
        return content, f"model {model}: config.json"
    if not folder.is_dir():
        raise CalibError(f"model {model.path!r} is no folder; a folder with config.json and weights is needed")
    path = folder / "config.json"
    if not path.exists():
        if (folder / _ADAPTER).exists():
            raise CalibError(_adapter_alone(model.path))
        raise CalibError(f"{path} is missing; a model's folder holds its config, its weights and its tokenizer")
    return read_json(path), str(path)


def _has_adapter(model: ModelPath) -> bool:
    with contextlib.suppress(Exception):
        return cached_file(model.path, _ADAPTER, revision=model.revision) is not None
    return False


def _adapter_alone(name: str) -> str:
    base = None
    with contextlib.suppress(CalibError):
        base = read_json(Path(name) / _ADAPTER).get("base_model_name_or_path")
    base = base if isinstance(base, str) and base and len(base) < 150 else "BASE"
    return f"model {name!r} holds a LoRA alone; write it with the model that it was trained on: {base}+{name}"


def _quantised(where: str, settings: Any) -> str:
    method = settings.get("quant_method") if isinstance(settings, dict) else None
    if method is None and isinstance(settings, dict) and any(key.startswith("load_in_") for key in settings):
        method = "bitsandbytes"
    found = f"{where}: quantization_config names {str(method)[:40]}: quantised weights cannot be merged"
    original = "use the repository with the full weights that it was made from"
    if (loader := _DEQUANTISED_BY.get(str(method))) is None:
        return f"{found}; {original}"
    return f"{found}; {original}, or load it in transformers with {loader}, and save that"


def _layer_counts(content: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield key path → value of the numbers of layers in a config and its parts."""
    for key, value in content.items():
        if key in _LAYER_KEYS and not isinstance(value, bool):
            yield prefix + key, value
        elif isinstance(value, dict) and depth < 3 and key.endswith("config"):
            yield from _layer_counts(value, f"{prefix}{key}.", depth + 1)


def check_adapter(reference: ModelReference, lazy_unpickle: bool) -> None:
    """Check the files of a model's LoRA, if it is in a local folder.

    Args:
        reference: the model with its LoRA.
        lazy_unpickle: whether pickles may be read.

    Raises:
        CalibError: the LoRA's folder or a file is missing, broken, a pickle, or of a kind that peft does not know.
    """
    if reference.lora is None:
        return
    folder = Path(reference.lora.path)
    if not os.path.lexists(folder):
        if reference.lora.path.startswith((".", "/", "~")) or reference.lora.path.count("/") > 1:
            raise CalibError(f"LoRA {reference.lora.path!r} does not exist: no such folder (relative to {os.getcwd()})")
        return
    if not (folder / _ADAPTER).is_file():
        raise CalibError(f"{folder} is no LoRA: it has no {_ADAPTER}; a model is written MODEL+LORA")
    read_json(folder / _ADAPTER)
    try:
        common.peft.PeftConfig.from_pretrained(str(folder))
    except Exception as problem:  # peft looks things up without checks
        reason = f"{type(problem).__name__}: {reason_of(problem)}"
        raise CalibError(f"{folder / _ADAPTER}: peft cannot use it ({reason}); fetch the LoRA again") from problem
    weights = folder / "adapter_model.safetensors"
    if weights.exists():
        with safetensors_file(weights):
            return
    if (folder / "adapter_model.bin").exists():
        if not lazy_unpickle:
            raise CalibError(
                f"{folder / 'adapter_model.bin'} is in pickle format, which can run code when it is read; save the "
                "LoRA as safetensors (`save_pretrained` of peft does), or allow it with mergekit's --lazy-unpickle"
            )
        return
    raise CalibError(f"{weights} is missing; fetch the LoRA again")
