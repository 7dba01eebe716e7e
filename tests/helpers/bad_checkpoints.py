"""Checkpoints that are broken, each in one way: functions that damage a folder with a small Llama and its tokenizer."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

Damage = Callable[[Path], object]


def edit(name: str, **keys: Any) -> Damage:
    """Return a damage that sets keys of a JSON file; None removes a key."""

    def damage(folder: Path) -> None:
        path = folder / name
        content = {**(json.loads(path.read_text()) if path.exists() else {}), **keys}
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return damage


def write(name: str, content: str | bytes) -> Damage:
    """Return a damage that replaces a file."""
    raw = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(raw)


def delete(*names: str) -> Damage:
    """Return a damage that deletes files."""
    return lambda folder: [(folder / name).unlink() for name in names]


def both(*damages: Damage) -> Damage:
    """Return a damage that consists of several."""
    return lambda folder: [damage(folder) for damage in damages]


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    """Return a damage that changes the tensors of `model.safetensors`."""

    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        loaded = {name: tensor.clone() for name, tensor in safetensors.torch.load_file(path).items()}
        change(loaded)
        safetensors.torch.save_file(loaded, path, metadata={"format": "pt"})

    return damage


def header(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Return a damage that changes the header of `model.safetensors`, and leaves the numbers as they are."""

    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        content = path.read_bytes()
        (n,) = struct.unpack("<Q", content[:8])
        described = json.loads(content[8 : 8 + n])
        change(described)
        text = json.dumps(described).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + n :])

    return damage


def overlap(described: dict[str, Any]) -> None:
    """Give two tensors of one shape the same bytes."""
    first, second = (f"model.layers.{i}.self_attn.q_proj.weight" for i in range(2))
    described[second]["data_offsets"] = described[first]["data_offsets"]


def cut(name: str, n_bytes: int) -> Damage:
    """Return a damage that cuts bytes off a file's end."""
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size - n_bytes)


def shards(folder: Path) -> None:
    """Split `model.safetensors` into two shards and their index."""
    path = folder / "model.safetensors"
    loaded = safetensors.torch.load_file(path)
    names = sorted(loaded)
    parts = {"one.safetensors": names[: len(names) // 2], "two.safetensors": names[len(names) // 2 :]}
    for file, part in parts.items():
        safetensors.torch.save_file({name: loaded[name] for name in part}, folder / file, metadata={"format": "pt"})
    path.unlink()
    places = {name: file for file, part in parts.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def index(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Return a damage that shards the weights, and changes the index."""

    def damage(folder: Path) -> None:
        shards(folder)
        path = folder / "model.safetensors.index.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return damage


class Payload:
    """A pickled object that makes a file named `ran` in the current folder when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran").absolute(),)


def pickled(name: str) -> Damage:
    """Return a damage that puts a pickle file, which runs code when it is read, in place of the weights."""

    def damage(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        torch.save({"model.embed_tokens.weight": Payload()}, folder / name)

    return damage


def bare_pickle(folder: Path) -> None:
    """Put a pickle that is no archive in place of the weights, as torch wrote them before 1.6."""
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"model.embed_tokens.weight": Payload()}))


def in_place_of_folder(folder: Path) -> None:
    """Put a file in place of the folder."""
    shutil.rmtree(folder)
    folder.write_text("no folder")


def dangling(name: str) -> Damage:
    """Return a damage that puts a link to nowhere in place of a file."""

    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(folder / "nowhere")

    return damage


def adapter_only(folder: Path) -> None:
    """Leave nothing but a LoRA in the folder."""
    for file in list(folder.iterdir()):
        file.unlink()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "org/m"}))
    (folder / "adapter_model.safetensors").write_bytes(b"")
